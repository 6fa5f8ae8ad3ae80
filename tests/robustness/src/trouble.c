/* A disk in trouble, for one folder of one process: put in by LD_PRELOAD.
 *
 * MARTLET_TROUBLE_FOLDER  the folder
 * MARTLET_TROUBLE_FULL    a file; while it is there, it says how many bytes the files of the folder have room for
 * MARTLET_TROUBLE_SYNC    a file; while it is there, a sync in the folder fails with EIO
 * MARTLET_TROUBLE_HOLD    a file; while it is there, a sync in the folder does not end
 * MARTLET_TROUBLE_CLOCK   a file; while it is there, it says by how many seconds the clock of the system is wrong
 *
 * A write that does not fit writes what does, and then fails with ENOSPC, as a file system does. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Whether an open file is the folder or in it. */
static int is_ours(int fd)
{
    const char *folder = getenv("MARTLET_TROUBLE_FOLDER");
    char link[64], path[PATH_MAX + 1];
    if (folder == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, PATH_MAX);
    if (bytes < 0)
        return 0;
    path[bytes] = 0;
    size_t of_folder = strlen(folder);
    return strncmp(path, folder, of_folder) == 0 && (path[of_folder] == 0 || path[of_folder] == '/');
}

static int is_there(const char *variable)
{
    const char *path = getenv(variable);
    return path != NULL && access(path, F_OK) == 0;
}

/* How many bytes there is room for, beyond what the files of the folder have; negative: as many as it likes. */
static long long room(void)
{
    const char *path = getenv("MARTLET_TROUBLE_FULL"), *folder = getenv("MARTLET_TROUBLE_FOLDER");
    FILE *told = path == NULL ? NULL : fopen(path, "r");
    long long most = 0;
    if (told == NULL)
        return -1;
    int found = fscanf(told, "%lld", &most);
    fclose(told);
    DIR *files = found == 1 ? opendir(folder) : NULL;
    if (files == NULL)
        return -1;
    for (struct dirent *entry; (entry = readdir(files)) != NULL;) {
        struct stat is;
        if (fstatat(dirfd(files), entry->d_name, &is, 0) == 0 && S_ISREG(is.st_mode))
            most -= is.st_size;
    }
    closedir(files);
    return most < 0 ? 0 : most;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (next == NULL)
        next = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    struct stat is;
    if (is_there("MARTLET_TROUBLE_FULL") && is_ours(fd) && fstat(fd, &is) == 0) {
        long long left = room(), grows = (long long)offset + (long long)count - is.st_size;
        if (left >= 0 && grows > left) {
            long long fits = (long long)count - (grows - left);
            if (fits <= 0) {
                errno = ENOSPC;
                return -1;
            }
            count = (size_t)fits;
        }
    }
    return next(fd, bytes, count, offset);
}

/* A look is due each so many nanoseconds. */
static const struct timespec LOOK = {0, 2000000};

static int fails(int fd)
{
    while (is_there("MARTLET_TROUBLE_HOLD") && is_ours(fd))
        nanosleep(&LOOK, NULL);
    if (!is_there("MARTLET_TROUBLE_SYNC") || !is_ours(fd))
        return 0;
    errno = EIO;
    return 1;
}

int fsync(int fd)
{
    static int (*next)(int);
    if (next == NULL)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(fd) ? -1 : next(fd);
}

int fdatasync(int fd)
{
    static int (*next)(int);
    if (next == NULL)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd) ? -1 : next(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*next)(clockid_t, struct timespec *);
    if (next == NULL)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = next(clock, now);
    const char *path = clock == CLOCK_REALTIME ? getenv("MARTLET_TROUBLE_CLOCK") : NULL;
    FILE *told = path == NULL ? NULL : fopen(path, "r");
    long long wrong = 0;
    if (told == NULL)
        return outcome;
    if (fscanf(told, "%lld", &wrong) == 1)
        now->tv_sec += (time_t)wrong;
    fclose(told);
    return outcome;
}
