/* What libseccomp makes of a profile, for the differential test.
 *
 * libseccomp-peer numbers NAME...   each name's number on x86_64 x86 x32 arm aarch64 riscv64 ("-": none)
 * libseccomp-peer names             every name libseccomp knows on those architectures
 * libseccomp-peer compile           reads a profile on standard input, writes the BPF program to standard output
 *
 * A profile, one statement a line, numbers in hexadecimal:
 *   default ACTION
 *   arch TOKEN
 *   rule ACTION NAME [ARG OP VALUE VALUE_TWO]...
 * Statements are executed in order as seccomp(3) calls. An unknown name is skipped; a rule that
 * libseccomp refuses ends the program with status 3 and the errno on standard error.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t arches[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86,     SCMP_ARCH_X32,
				  SCMP_ARCH_ARM,    SCMP_ARCH_AARCH64, SCMP_ARCH_RISCV64};
#define ARCHES (sizeof(arches) / sizeof(arches[0]))

static int numbers(int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		printf("%s", argv[i]);
		for (size_t a = 0; a < ARCHES; a++) {
			int nr = seccomp_syscall_resolve_name_rewrite(arches[a], argv[i]);
			/* multiplexed calls are rewritten to socketcall and ipc: ask for the direct number */
			for (int direct = 0; arches[a] == SCMP_ARCH_X86 && direct < 512; direct++) {
				char *name = seccomp_syscall_resolve_num_arch(arches[a], direct);
				if (name && !strcmp(name, argv[i]))
					nr = direct;
				free(name);
			}
			if (nr < 0)
				printf(" -");
			else
				printf(" %d", nr);
		}
		printf("\n");
	}
	return 0;
}

static int names(void)
{
	for (size_t a = 0; a < ARCHES; a++)
		for (int nr = 0; nr < 1024; nr++) {
			int bit = arches[a] == SCMP_ARCH_X32 ? 0x40000000 : 0;
			char *name = seccomp_syscall_resolve_num_arch(arches[a], nr | bit);
			if (name)
				printf("%s\n", name);
			free(name);
		}
	return 0;
}

static int add_rule(scmp_filter_ctx filter, char *words)
{
	struct scmp_arg_cmp args[6];
	unsigned int count = 0;
	char *next, *action = strtok_r(words, " \n", &next), *name = strtok_r(NULL, " \n", &next);
	char *arg;
	int nr = seccomp_syscall_resolve_name(name);

	if (nr == __NR_SCMP_ERROR)
		return 0;
	while ((arg = strtok_r(NULL, " \n", &next)) && count < 6) {
		args[count].arg = strtoul(arg, NULL, 16);
		args[count].op = strtoul(strtok_r(NULL, " \n", &next), NULL, 16);
		args[count].datum_a = strtoull(strtok_r(NULL, " \n", &next), NULL, 16);
		args[count].datum_b = strtoull(strtok_r(NULL, " \n", &next), NULL, 16);
		count++;
	}
	return seccomp_rule_add_array(filter, strtoul(action, NULL, 16), nr, count, args);
}

static int compile(void)
{
	char line[4096];
	scmp_filter_ctx filter = NULL;
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "default ", 8)) {
			filter = seccomp_init(strtoul(line + 8, NULL, 16));
			rc = filter ? 0 : -EINVAL;
		} else if (!strncmp(line, "arch ", 5)) {
			rc = seccomp_arch_add(filter, strtoul(line + 5, NULL, 16));
			rc = rc == -EEXIST ? 0 : rc;
		} else if (!strncmp(line, "rule ", 5)) {
			rc = add_rule(filter, line + 5);
		}
	}
	if (rc == 0)
		rc = seccomp_export_bpf(filter, 1);
	if (rc != 0) {
		fprintf(stderr, "%d\n", -rc);
		return 3;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && !strcmp(argv[1], "numbers"))
		return numbers(argc, argv);
	if (argc == 2 && !strcmp(argv[1], "names"))
		return names();
	if (argc == 2 && !strcmp(argv[1], "compile"))
		return compile();
	fprintf(stderr, "usage: libseccomp-peer numbers NAME... | names | compile\n");
	return 2;
}
