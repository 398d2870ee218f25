package process

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hide keeps other processes of the same user from reading the memory and the environment of this
// one, where its secrets are. The kernel takes it for granted that they may, and a plugin is
// one. It holds for good, and there are no core dumps of this process then.
func hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the memory of the gateway from plugins: %w", err)
	}
	return nil
}

// What landlock, a part of the kernel, is asked to forbid: each version knows more.
const (
	changes = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	moves     = unix.LANDLOCK_ACCESS_FS_REFER
	truncates = unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// confine keeps this thread, and what it starts, from changing files that are not below dir, and from
// tracing and signalling processes that it did not start. The user of the gateway may do
// all of that: write to the compile cache, whose code runs in the gateway, to its keys and
// its database, and to the copies of other plugins. Where the kernel has no landlock a
// process keeps these rights.
func confine(dir string) error {
	version := landlockAsk(unix.LANDLOCK_CREATE_RULESET_VERSION)
	if version < 1 {
		return nil
	}
	rules := unix.LandlockRulesetAttr{Handled_access_fs: changes}
	size := unsafe.Sizeof(rules.Handled_access_fs)
	if version >= 2 {
		rules.Handled_access_fs |= moves
	}
	if version >= 3 {
		rules.Handled_access_fs |= truncates
	}
	// Kernels that have not corrected their second fault take the signals between the threads
	// of one process for those of another.
	if version >= 6 && landlockAsk(unix.LANDLOCK_CREATE_RULESET_ERRATA)&(1<<1) != 0 {
		rules.Scoped = unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Offsetof(rules.Quiet_access_fs)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return fmt.Errorf("confine it: %w", errno)
	}
	defer unix.Close(int(fd))
	if err := permit(fd, dir, rules.Handled_access_fs); err != nil {
		return err
	}
	if err := permit(fd, os.DevNull, rules.Handled_access_fs&(unix.LANDLOCK_ACCESS_FS_WRITE_FILE|truncates)); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("confine it: %w", errno)
	}
	return nil
}

// landlockAsk returns a number that tells what the kernel's landlock can do, 0 or less if it has none.
func landlockAsk(what uintptr) int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, what)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// permit allows access to a file, or to all that is below a directory.
func permit(rules uintptr, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("confine it to %s: %w", path, err)
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("confine it to %s: %w", path, errno)
	}
	return nil
}
