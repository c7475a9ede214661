/* Sets the wall clock of one host apart: loaded before all other libraries there, it adds what a file says to every
 * reading of the wall clock. The file holds one signed 64-bit number of nanoseconds and is mapped, so that a clock
 * can be stepped while programs run. Deadlines given as wall-clock times are turned back for the same reason. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define GIGA 1000000000LL

static const volatile int64_t none = 0;
static const volatile int64_t *offset = &none;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_clock_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static int (*real_sem_timedwait)(sem_t *, const struct timespec *);

__attribute__((constructor)) static void look_up(void)
{
    int file;

    if (real_clock_gettime)
        return;
    real_clock_nanosleep = dlsym(RTLD_NEXT, "clock_nanosleep");
    real_sem_timedwait = dlsym(RTLD_NEXT, "sem_timedwait");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    file = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        offset = page;
}

static void shift(struct timespec *when, int64_t by)
{
    int64_t nanos = when->tv_nsec + by % GIGA;

    when->tv_sec += by / GIGA;
    if (nanos < 0) {
        nanos += GIGA;
        when->tv_sec--;
    } else if (nanos >= GIGA) {
        nanos -= GIGA;
        when->tv_sec++;
    }
    when->tv_nsec = nanos;
}

static int is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    look_up();
    int failed = real_clock_gettime(clock, now);
    if (!failed && is_wall(clock))
        shift(now, *offset);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec precise;

    clock_gettime(CLOCK_REALTIME, &precise);
    if (now)
        *now = precise.tv_sec;
    return precise.tv_sec;
}

int timespec_get(struct timespec *now, int base)
{
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    look_up();
    struct timespec until = *wanted;
    if (flags & TIMER_ABSTIME && is_wall(clock))
        shift(&until, -*offset);
    return real_clock_nanosleep(clock, flags, &until, left);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *wanted)
{
    look_up();
    struct timespec until = *wanted;
    shift(&until, -*offset);
    return real_sem_timedwait(semaphore, &until);
}
