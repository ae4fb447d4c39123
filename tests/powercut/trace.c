/*
 * Preloaded under the service: notes every change of a file below TRACE_ROOT, and every sync, in the order in which they
 * happened, so that the files can be rebuilt as a power cut at any moment might have left them.
 *
 * The trace is a row of entries, little endian:
 *
 *   u8 kind, u64 inode, i64 number, u32 length, length bytes
 *
 *   O  the file `bytes` was opened and is this inode; number 1 when that made it
 *   W  `bytes` were written at offset number
 *   T  the file was cut or extended to number bytes
 *   S  the file was synced; what stood in the trace before its offset number is durable
 *   D  the folder `bytes` was synced, with the same meaning of number
 *   R  `old NUL new` was renamed
 *   U  `bytes` was removed
 *   M  the folder `bytes` was made
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_FILES = 65536 };

struct tracked {
    int tracked, folder;
    uint64_t inode;
    char *path;
};

static struct tracked files[MOST_FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;
static int64_t length;
static const char *root;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    root = getenv("TRACE_ROOT");
    const char *file = getenv("TRACE_FILE");
    if (root && file) {
        trace = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        struct stat found;
        if (trace >= 0 && fstat(trace, &found) == 0) length = found.st_size;
    }
}

static int is_below_root(const char *path) {
    return trace >= 0 && path && strncmp(path, root, strlen(root)) == 0;
}

static void put(const void *bytes, size_t count) {
    while (count > 0) {
        long done = syscall(SYS_write, trace, bytes, count);
        if (done < 0) {
            if (errno == EINTR) continue;
            abort();
        }
        bytes = (const char *)bytes + done;
        count -= done;
        length += done;
    }
}

static void note(char kind, uint64_t inode, int64_t number, const void *bytes, uint32_t count) {
    unsigned char head[21];
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &count, 4);
    put(head, sizeof head);
    put(bytes, count);
}

static struct tracked *of(int fd) {
    return trace >= 0 && fd >= 0 && fd < MOST_FILES && files[fd].tracked ? &files[fd] : NULL;
}

static int opened(int fd, const char *path, int flags, int was_there) {
    struct stat found;
    if (fd < 0 || fd >= MOST_FILES || !is_below_root(path) || fstat(fd, &found) != 0) return fd;
    int before = errno;
    pthread_mutex_lock(&lock);
    free(files[fd].path);
    files[fd] = (struct tracked){1, S_ISDIR(found.st_mode), found.st_ino, strdup(path)};
    if (!files[fd].folder) {
        note('O', found.st_ino, !was_there, path, strlen(path));
        if (was_there && (flags & O_TRUNC)) note('T', found.st_ino, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = before;
    return fd;
}

static int there(const char *path) {
    struct stat found;
    return stat(path, &found) == 0;
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = va_arg(more, int), was_there = is_below_root(path) && there(path); \
        va_end(more);                                                     \
        return opened(REAL(name)(path, flags, mode), path, flags, was_there); \
    }
#define OPENAT(name)                                                      \
    int name(int at, const char *path, int flags, ...) {                  \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = va_arg(more, int), was_there = is_below_root(path) && there(path); \
        va_end(more);                                                     \
        return opened(REAL(name)(at, path, flags, mode), path, flags, was_there); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (of(fd)) {
        pthread_mutex_lock(&lock);
        files[fd].tracked = 0;
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

static int64_t position(int fd) {
    int flags = fcntl(fd, F_GETFL);
    struct stat found;
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &found) == 0) return found.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    struct tracked *file = of(fd);
    if (!file) return REAL(write)(fd, bytes, count);
    pthread_mutex_lock(&lock);
    int64_t at = position(fd);
    ssize_t done = REAL(write)(fd, bytes, count);
    int before = errno;
    if (done > 0) note('W', file->inode, at, bytes, done);
    pthread_mutex_unlock(&lock);
    errno = before;
    return done;
}

#define PWRITE(name, offset)                                              \
    ssize_t name(int fd, const void *bytes, size_t count, offset at) {    \
        struct tracked *file = of(fd);                                    \
        if (!file) return REAL(name)(fd, bytes, count, at);               \
        pthread_mutex_lock(&lock);                                        \
        ssize_t done = REAL(name)(fd, bytes, count, at);                  \
        int before = errno;                                               \
        if (done > 0) note('W', file->inode, at, bytes, done);            \
        pthread_mutex_unlock(&lock);                                      \
        errno = before;                                                   \
        return done;                                                      \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct tracked *file = of(fd);
    if (!file) return REAL(writev)(fd, parts, count);
    ssize_t all = 0;
    for (int part = 0; part < count; part++) {
        ssize_t done = write(fd, parts[part].iov_base, parts[part].iov_len);
        if (done < 0) return all ? all : done;
        all += done;
        if ((size_t)done < parts[part].iov_len) break;
    }
    return all;
}

#define TRUNCATE(name, offset)                                            \
    int name(int fd, offset size) {                                       \
        struct tracked *file = of(fd);                                    \
        if (!file) return REAL(name)(fd, size);                           \
        pthread_mutex_lock(&lock);                                        \
        int done = REAL(name)(fd, size), before = errno;                  \
        if (done == 0) note('T', file->inode, size, "", 0);               \
        pthread_mutex_unlock(&lock);                                      \
        errno = before;                                                   \
        return done;                                                      \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* A sync covers what was written before it began, not what other threads wrote meanwhile. */
#define SYNC(name)                                                        \
    int name(int fd) {                                                    \
        struct tracked *file = of(fd);                                    \
        if (!file) return REAL(name)(fd);                                 \
        pthread_mutex_lock(&lock);                                        \
        int64_t begun = length;                                           \
        pthread_mutex_unlock(&lock);                                      \
        int done = REAL(name)(fd), before = errno;                        \
        pthread_mutex_lock(&lock);                                        \
        if (done == 0) {                                                  \
            uint32_t count = file->folder ? strlen(file->path) : 0;       \
            note(file->folder ? 'D' : 'S', file->inode, begun, file->path, count); \
        }                                                                 \
        pthread_mutex_unlock(&lock);                                      \
        errno = before;                                                   \
        return done;                                                      \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *old, const char *new) {
    if (!is_below_root(new)) return REAL(rename)(old, new);
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(old, new), before = errno;
    if (done == 0) {
        char both[8192];
        int count = snprintf(both, sizeof both, "%s%c%s", old, 0, new);
        note('R', 0, 0, both, count);
    }
    pthread_mutex_unlock(&lock);
    errno = before;
    return done;
}

int unlink(const char *path) {
    if (!is_below_root(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int done = REAL(unlink)(path), before = errno;
    if (done == 0) note('U', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = before;
    return done;
}

int mkdir(const char *path, mode_t mode) {
    int done = REAL(mkdir)(path, mode), before = errno;
    if (done == 0 && is_below_root(path)) {
        pthread_mutex_lock(&lock);
        note('M', 0, 0, path, strlen(path));
        pthread_mutex_unlock(&lock);
    }
    errno = before;
    return done;
}
