/* hot FILE COMMAND...: runs a command one instruction at a time and appends to
 * FILE the addresses, below 16 MiB, that it and the processes it makes have been
 * at, until they execute another program. A static program at a fixed address
 * lies there and nothing else does. Addresses are sixteen digits, so that text
 * sorts as numbers do. ptrace(2). */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIGH = 16 << 20 };
static char seen[HIGH];

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: hot FILE COMMAND...\n");
        return 2;
    }
    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status, code = 1;
    pid_t child = 0;
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC);
    ptrace(PTRACE_SINGLESTEP, first, 0, 0);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            break;
        if (!WIFSTOPPED(status)) {
            if (pid == child)
                child = 0;
            if (pid != first)
                continue;
            code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            break;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC && pid != first) {
            ptrace(PTRACE_DETACH, pid, 0, 0);
            child = 0;
            continue;
        }
        if (pid != first)
            child = pid;
        struct user_regs_struct registers;
        if (ptrace(PTRACE_GETREGS, pid, 0, &registers) == 0 && registers.rip < HIGH)
            seen[registers.rip] = 1;
        if (event || signal == SIGTRAP || signal == SIGSTOP)
            signal = 0;
        ptrace(PTRACE_SINGLESTEP, pid, 0, signal);
    }
    if (child > 0 && kill(child, SIGSTOP) == 0) { /* What it leaves behind goes on by itself. */
        waitpid(child, &status, __WALL);
        ptrace(PTRACE_DETACH, child, 0, 0);
        kill(child, SIGCONT); /* The stop may still be on its way. */
    }
    FILE *file = fopen(argv[1], "a");
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    for (unsigned long at = 0; at < HIGH; at++)
        if (seen[at])
            fprintf(file, "%016lx\n", at);
    return fclose(file) ? 1 : code;
}
