/* delegate DIRECTORY: marks a cgroup as systemd marks what it has delegated; cgroups(7), systemd.resource-control(5). */
#include <stdio.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
	if (argc == 2 && setxattr(argv[1], "trusted.delegate", "1", 1, 0) == 0)
		return 0;
	perror("delegate");
	return 1;
}
