/*
 * Small steps that are measured from outside; static, so that they add little.
 *
 * measure cycle RUNTIME BUNDLE ID   create, start and delete --force, one after the other
 * measure expect STATUS COMMAND...  run it; only that status is success
 * measure rss COMMAND...            run it and print the peak resident KiB of it and of what it waited for
 * measure orphans COUNT             leave so many to PID 1, all ending at the same time, and print in how
 *                                   many milliseconds it has reaped them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Runs a command and returns its status as a shell shows it. */
static int run(char **argv, struct rusage *usage)
{
    pid_t pid = vfork();
    if (pid < 0)
        return 125;
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    int status;
    while (wait4(pid, &status, 0, usage) < 0)
        if (errno != EINTR)
            return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int cycle(char *runtime, char *bundle, char *id)
{
    char *create[] = {runtime, "create", "--bundle", bundle, id, NULL};
    char *start[] = {runtime, "start", id, NULL};
    char *delete[] = {runtime, "delete", "--force", id, NULL};
    int status = run(create, NULL);
    if (status == 0)
        status = run(start, NULL);
    int deleted = run(delete, NULL);
    return status != 0 ? status : deleted;
}

static int expect(int wanted, char **argv)
{
    int status = run(argv, NULL);
    if (status == wanted)
        return 0;
    fprintf(stderr, "measure: %s ended with %d and not with %d\n", argv[0], status, wanted);
    return 1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

/* The parent of the orphans, which tells their pids and ends before them. */
static int bear(int count, int *gate, int tell)
{
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            char byte;
            close(gate[1]);
            /* Until the gate opens: its other end is nobody's any more. */
            ssize_t end = read(gate[0], &byte, 1);
            _exit(end == 0 ? 0 : 1);
        }
        if (write(tell, &pid, sizeof pid) != sizeof pid)
            return 1;
    }
    return 0;
}

static int orphans(int count)
{
    int gate[2], told[2], status;
    pid_t *pids = calloc(count, sizeof *pids);
    if (pids == NULL || pipe(gate) != 0 || pipe(told) != 0)
        return 125;
    pid_t parent = fork();
    if (parent == 0)
        _exit(bear(count, gate, told[1]));
    for (int i = 0; i < count; i++)
        if (read(told[0], &pids[i], sizeof *pids) != sizeof *pids)
            return 125;
    if (waitpid(parent, &status, 0) != parent || status != 0)
        return 125;
    /* All are PID 1's now, and wait at the gate: those that were born last, too. */
    usleep(200000);
    double begun = now();
    close(gate[1]);
    for (int i = count - 1; i >= 0; i--)
        while (kill(pids[i], 0) == 0)
            usleep(500);
    printf("%.3f\n", now() - begun);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "cycle") == 0)
        return cycle(argv[2], argv[3], argv[4]);
    if (argc > 3 && strcmp(argv[1], "expect") == 0)
        return expect(atoi(argv[2]), argv + 3);
    if (argc > 2 && strcmp(argv[1], "rss") == 0) {
        struct rusage usage;
        int status = run(argv + 2, &usage);
        printf("%ld\n", usage.ru_maxrss);
        return status;
    }
    if (argc == 3 && strcmp(argv[1], "orphans") == 0)
        return orphans(atoi(argv[2]));
    fprintf(stderr, "usage: measure cycle RUNTIME BUNDLE ID | expect STATUS COMMAND... | rss COMMAND... | orphans COUNT\n");
    return 2;
}
