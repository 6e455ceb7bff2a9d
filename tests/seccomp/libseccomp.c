/* What libseccomp makes of a profile. Reads lines, writes the program to standard output.
 *
 *   default ACTION                          in hexadecimal, as SCMP_ACT_*; first
 *   arch NAME                               as seccomp_arch_resolve_name takes it
 *   optimize LEVEL                          SCMP_FLTATR_CTL_OPTIMIZE
 *   rule ACTION NAME [ARGUMENT OP A B]...   values in hexadecimal; OP is enum scmp_compare
 *
 * Rules that it does not take are told on standard error: "unknown NAME", or "refused NAME LINE".
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
	static char line[65536];
	scmp_filter_ctx filter = NULL;
	for (int number = 0; fgets(line, sizeof line, stdin); number++) {
		struct scmp_arg_cmp arguments[6];
		unsigned count = 0;
		char *word = strtok(line, " \n"), *first = strtok(NULL, " \n");
		if (!word || !first)
			continue;
		if (!strcmp(word, "default")) {
			filter = seccomp_init(strtoul(first, NULL, 16));
			if (!filter)
				return 1;
		} else if (!strcmp(word, "arch")) {
			if (seccomp_arch_add(filter, seccomp_arch_resolve_name(first)) == -EINVAL)
				return 1;
		} else if (!strcmp(word, "optimize")) {
			seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, atoi(first));
		} else {
			char *name = strtok(NULL, " \n"), *argument;
			int call = seccomp_syscall_resolve_name(name);
			if (call == __NR_SCMP_ERROR) {
				fprintf(stderr, "unknown %s\n", name);
				continue;
			}
			while (count < 6 && (argument = strtok(NULL, " \n"))) {
				int op = atoi(strtok(NULL, " \n"));
				scmp_datum_t a = strtoull(strtok(NULL, " \n"), NULL, 16), b = strtoull(strtok(NULL, " \n"), NULL, 16);
				arguments[count++] = SCMP_CMP(atoi(argument), op, a, b);
			}
			if (seccomp_rule_add_array(filter, strtoul(first, NULL, 16), call, count, arguments))
				fprintf(stderr, "refused %s %d\n", name, number);
		}
	}
	return seccomp_export_bpf(filter, 1) ? 1 : 0;
}
