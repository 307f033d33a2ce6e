/* apps/lib/train_log.h - tables that grow during a training: a CSV file, and the same numbers in memory for the report.
 *
 * The file is only a by-product: a checkpoint says how long it was, and going on from one cuts off what came after. */
#ifndef PANUM_APPS_LIB_TRAIN_LOG_H
#define PANUM_APPS_LIB_TRAIN_LOG_H
#include <stdint.h>

enum { TRAIN_COLUMNS_MAX = 24 };

typedef struct TrainLog TrainLog;
/* `bytes` of an existing file are kept and read (0: begin anew); of one that is shorter, the rows that are there.
 * ERR_INPUT when it is another table. */
int train_log_open(const char *path, const char *const *names, int columns, int64_t bytes, TrainLog **log);
void train_log_close(TrainLog *log); /* NULL is fine */
/* A row; NaN is an empty field. */
int train_log_add(TrainLog *log, const double *row);
int64_t train_log_bytes(const TrainLog *log);
int64_t train_log_rows(const TrainLog *log);
const double *train_log_column(const TrainLog *log, int column);
#endif
