/* Remembers what a process overwrites in its files until it syncs them, so that a machine that loses
 * its power can be played: `bench.registry.power_loss` puts the old bytes back.
 *
 * Preloaded (LD_PRELOAD). Each write or truncation of a file below UNSYNCED_FOLDER appends a record to
 * the file UNSYNCED_JOURNAL before it is done; each sync appends a record too. With UNSYNCED_IGNORE set
 * syncs are not done and not recorded: a disk that lies, or a program without its fsync.
 *
 * Record: char kind ('w' write, 's' sync), uint32 length of path, uint64 offset, uint64 old size of the
 * file, uint32 length of old bytes, path, old bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Return the path of a descriptor if it is a file that is watched, else NULL. */
static const char *watched(int fd, char *path, size_t room) {
    const char *folder = getenv("UNSYNCED_FOLDER");
    char link[64];
    if (folder == NULL) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, room - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0) return NULL;
    const char *end = path + length;  /* SQLite maps its -shm and makes it anew */
    return length > 4 && strcmp(end - 4, "-shm") == 0 ? NULL : path;
}

static void record(char kind, int fd, uint64_t offset, uint32_t length) {
    ssize_t (*real_write)(int, const void *, size_t) = next("write");
    ssize_t (*real_pread)(int, void *, size_t, off_t) = next("pread64");
    char path[4096];
    if (watched(fd, path, sizeof path) == NULL) return;
    struct stat status;
    if (fstat(fd, &status) != 0) return;
    uint64_t size = (uint64_t)status.st_size;
    uint32_t old = 0;
    if (kind == 'w' && offset < size) {
        uint64_t rest = size - offset;
        old = (uint32_t)(rest < length ? rest : length);
    }
    uint32_t path_length = (uint32_t)strlen(path);
    size_t total = 25 + path_length + old;
    char *buffer = malloc(total), *at = buffer;
    *at++ = kind;
    memcpy(at, &path_length, 4); at += 4;
    memcpy(at, &offset, 8); at += 8;
    memcpy(at, &size, 8); at += 8;
    memcpy(at, &old, 4); at += 4;
    memcpy(at, path, path_length); at += path_length;
    if (old > 0 && real_pread(fd, at, old, (off_t)offset) != (ssize_t)old) abort();
    pthread_mutex_lock(&lock);
    if (journal < 0) journal = open(getenv("UNSYNCED_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (real_write(journal, buffer, total) != (ssize_t)total) abort();
    pthread_mutex_unlock(&lock);
    free(buffer);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    ssize_t (*real)(int, const void *, size_t, off_t) = next("pwrite64");
    record('w', fd, (uint64_t)offset, (uint32_t)length);
    return real(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

int ftruncate64(int fd, off_t size) {
    int (*real)(int, off_t) = next("ftruncate64");
    struct stat status;
    if (fstat(fd, &status) == 0 && status.st_size > size)
        record('w', fd, (uint64_t)size, (uint32_t)(status.st_size - size));
    else
        record('w', fd, (uint64_t)size, 0);
    return real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, const char *name) {
    int (*real)(int) = next(name);
    if (getenv("UNSYNCED_IGNORE") != NULL) return 0;
    int result = real(fd);
    if (result == 0) record('s', fd, 0, 0);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
