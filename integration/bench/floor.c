/*
 * floor ROOTFS COMMAND [ARGUMENT...]: the least a container can cost here.
 *
 * One clone3 with new mount, pid, uts, ipc and network namespaces, a
 * bind-mounted root, /proc, a tmpfs on /dev, pivot_root, execve, waitpid. No
 * configuration, cgroup, device, mask, capability or state. What a runtime
 * takes beyond this is its own (or what its bundle asks for).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *step)
{
    fprintf(stderr, "floor: %s: %s\n", step, strerror(errno));
    _exit(125);
}

static void child(const char *root, char **argv)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        die("make / private");
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) != 0)
        die("bind the root");
    if (chdir(root) != 0)
        die("chdir to the root");
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        die("mount /proc");
    if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k") != 0)
        die("mount /dev");
    if (syscall(SYS_pivot_root, ".", ".") != 0)
        die("pivot_root");
    if (umount2(".", MNT_DETACH) != 0)
        die("detach the old root");
    if (chdir("/") != 0)
        die("chdir to /");
    execve(argv[0], argv, (char *[]){"PATH=/bin:/sbin:/usr/bin:/usr/sbin", NULL});
    die(argv[0]);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: floor ROOTFS COMMAND [ARGUMENT...]\n");
        return 2;
    }
    struct clone_args args = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
        .exit_signal = SIGCHLD,
    };
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        die("clone3");
    if (pid == 0)
        child(argv[1], argv + 2);
    int status;
    if (waitpid((pid_t)pid, &status, 0) < 0)
        die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
