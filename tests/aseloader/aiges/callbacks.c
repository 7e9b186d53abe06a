/* A wrapper in C that answers by callbacks from a thread of its own, and meters and traces. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct ParamList { char *key, *value; unsigned int vlen; struct ParamList *next; } ParamList;
typedef struct DataList {
    char *key; void *data; unsigned int len; int type, status; ParamList *desc; struct DataList *next;
} DataList;
typedef int (*Callback)(const void *tag, DataList *results, int code);
typedef struct { const char *tag; Callback callback; char *text; unsigned int len; int status; } Job;

static int (*meter)(const char *tag, const char *key, int count);
static int (*trace)(const char *tag, const char *key, const char *value);

int wrapperSetCtrl(int kind, void *function)
{
    if (kind == 0)
        meter = function;
    if (kind == 2)
        trace = function;
    return 0;
}

int wrapperInit(ParamList *config) { (void)config; return meter && trace ? 0 : 1; }
int wrapperFini(void) { return 0; }
const char *wrapperError(int code) { return code == 7 ? "refused by callback" : ""; }

static void *answer(void *argument)
{
    Job *job = argument;
    if (job->len == 4 && !memcmp(job->text, "fail", 4)) {
        job->callback(job->tag, NULL, 7);
    } else {
        DataList result = {"result", job->text, job->len, 0, job->status, NULL, NULL};
        job->callback(job->tag, &result, 0);
    }
    memset(job->text, 0, job->len); /* nobody may read it any more */
    free(job->text);
    free(job);
    return NULL;
}

static int start(const char *tag, Callback callback, const DataList *input, int status, int waits)
{
    pthread_t thread;
    Job *job = malloc(sizeof *job);
    *job = (Job){tag, callback, malloc(input->len + 1), input->len, status};
    memcpy(job->text, input->data, input->len);
    meter(tag, "bytes", (int)input->len);
    trace(tag, "job", "started\nforged");
    if (input->len == 6 && !memcmp(input->data, "silent", 6))
        return 0;
    if (pthread_create(&thread, NULL, answer, job))
        return 1;
    return waits ? pthread_join(thread, NULL) : pthread_detach(thread);
}

int wrapperExecAsync(const char *tag, ParamList *params, DataList *inputs, Callback callback, int timeout,
                     unsigned int *resources, int resource_count)
{
    (void)resources, (void)resource_count;
    for (; params && strcmp(params->key, "sid"); params = params->next)
        ;
    if (!params || strcmp(params->value, tag) || timeout < 1)
        return 1;
    return start(tag, callback, inputs, 3, 0);
}

typedef struct { const char *tag; Callback callback; } Session;

const void *wrapperCreate(const char *tag, ParamList *params, Callback callback, unsigned int *resources,
                          int resource_count, int *code)
{
    Session *session = malloc(sizeof *session);
    (void)params, (void)resources, (void)resource_count;
    *session = (Session){tag, callback};
    *code = 0;
    return session;
}

int wrapperWrite(const void *handle, DataList *inputs)
{
    const Session *session = handle;
    return inputs ? start(session->tag, session->callback, inputs, inputs->status, 1) : 0;
}

int wrapperDestroy(const void *handle) { free((void *)handle); return 0; }
