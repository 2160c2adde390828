/*
 * Small steps that are measured from outside; static, so that they add little.
 *
 * measure cycle RUNTIME BUNDLE ID   create, start and delete --force, one after the other
 * measure expect STATUS COMMAND...  run it; only that status is success
 * measure rss COMMAND...            run it and print the peak resident KiB of it and of what it waited for
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
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
    fprintf(stderr, "usage: measure cycle RUNTIME BUNDLE ID | measure expect STATUS COMMAND... | measure rss COMMAND...\n");
    return 2;
}
