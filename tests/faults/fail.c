/*
 * Preloaded under the service: makes writes or syncs of chosen files fail, as a disk would, while a test says so.
 *
 * FAULT_FILE is a file of 256 bytes that the test changes and this library maps:
 *
 *   byte 0        0 nothing fails, 1 writes fail with EIO, 2 writes fail with ENOSPC, 3 syncs fail with EIO, 4 writes are
 *                 short: half of the bytes, then ENOSPC
 *   byte 8...     the end of the names of the files that it is about, closed with NUL
 *   bytes 4..8    how often something failed, little endian; counted here
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOTHING, WRITE_EIO, WRITE_ENOSPC, SYNC_EIO, SHORT_WRITE };

static volatile unsigned char *control;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("FAULT_FILE");
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, 256, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(fd);
}

/* Which fault is in force for this descriptor. */
static int fault_of(int fd) {
    if (!control || control[0] == NOTHING) return NOTHING;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return NOTHING;
    path[length] = 0;
    const char *end = (const char *)(control + 8);
    size_t count = strlen(end);
    if ((size_t)length < count || strcmp(path + length - count, end) != 0) return NOTHING;
    return control[0];
}

static int failed(int error) {
    __sync_fetch_and_add((volatile uint32_t *)(control + 4), 1);
    errno = error;
    return -1;
}

#define WRITE(name, ...)                                                          \
    switch (fault_of(fd)) {                                                       \
    case WRITE_EIO: return failed(EIO);                                           \
    case WRITE_ENOSPC: return failed(ENOSPC);                                     \
    case SHORT_WRITE:                                                             \
        if (count < 2) return failed(ENOSPC);                                     \
        failed(0);                                                                \
        count /= 2;                                                               \
    }                                                                             \
    return REAL(name)(fd, bytes, count, ##__VA_ARGS__)

ssize_t write(int fd, const void *bytes, size_t count) { WRITE(write); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { WRITE(pwrite, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { WRITE(pwrite64, at); }

int fsync(int fd) { return fault_of(fd) == SYNC_EIO ? failed(EIO) : REAL(fsync)(fd); }
int fdatasync(int fd) { return fault_of(fd) == SYNC_EIO ? failed(EIO) : REAL(fdatasync)(fd); }

#define RESIZE(name) \
    switch (fault_of(fd)) { \
    case WRITE_EIO: return failed(EIO); \
    case WRITE_ENOSPC: case SHORT_WRITE: return failed(ENOSPC); \
    } \
    return REAL(name)(fd, size)
int ftruncate(int fd, off_t size) { RESIZE(ftruncate); }
int ftruncate64(int fd, off64_t size) { RESIZE(ftruncate64); }
