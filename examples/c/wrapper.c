/* A wrapper in C with the original's interface: it answers with the text in capitals.
 *
 *     cc -shared -fPIC -o libupper.so wrapper.c
 *     asectl loader run --plugin libupper.so --schema schema.json
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct ParamList { char *key, *value; unsigned int vlen; struct ParamList *next; } ParamList;
typedef struct DataList {
    char *key; void *data; unsigned int len; int type, status; ParamList *desc; struct DataList *next;
} DataList;
typedef int (*Callback)(const void *tag, DataList *results, int code);

enum { EMPTY_TEXT = 10013 };

static DataList *upper(const DataList *input, int status)
{
    DataList *result = calloc(1, sizeof *result);
    result->key = "result";
    result->data = malloc(input->len + 1);
    result->len = input->len;
    result->status = status;
    for (unsigned int i = 0; i < input->len; i++)
        ((char *)result->data)[i] = (char)toupper(((const char *)input->data)[i]);
    return result;
}

static void release(DataList *result)
{
    if (result)
        free(result->data);
    free(result);
}

int wrapperInit(ParamList *config)
{
    for (; config; config = config->next)
        if (!strcmp(config->key, "code"))
            return atoi(config->value);
    return 0;
}

int wrapperFini(void) { return 0; }

const char *wrapperError(int code) { return code == EMPTY_TEXT ? "the text is empty" : ""; }

int wrapperExec(const char *tag, ParamList *params, DataList *inputs, DataList **results,
                unsigned int *resources, int resource_count)
{
    (void)tag, (void)resources, (void)resource_count;
    for (; params; params = params->next)
        if (!strcmp(params->key, "crash") && !strcmp(params->value, "true"))
            abort(); /* what a fault of the model does */
    *results = NULL;
    if (!inputs->len)
        return EMPTY_TEXT;
    *results = upper(inputs, 3);
    return 0;
}

int wrapperExecFree(const char *tag, DataList **results)
{
    (void)tag;
    release(*results);
    return 0;
}

/* A session: one result for each input. */
typedef struct { DataList *result; } Session;

const void *wrapperCreate(const char *tag, ParamList *params, Callback callback, unsigned int *resources,
                          int resource_count, int *code)
{
    (void)tag, (void)params, (void)callback, (void)resources, (void)resource_count;
    *code = 0;
    return calloc(1, sizeof(Session));
}

int wrapperWrite(const void *handle, DataList *inputs)
{
    Session *session = (Session *)handle;
    release(session->result);
    session->result = inputs ? upper(inputs, inputs->status) : NULL;
    return 0;
}

int wrapperRead(const void *handle, DataList **results)
{
    *results = ((const Session *)handle)->result;
    return 0;
}

int wrapperDestroy(const void *handle)
{
    release(((const Session *)handle)->result);
    free((void *)handle);
    return 0;
}
