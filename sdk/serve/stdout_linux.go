package serve

import (
	"fmt"
	"os"
	"syscall"
)

// keepStdout keeps standard output for the handshake. What the provider, or a library that
// took hold of it earlier, writes there from now on goes to standard error.
func keepStdout() error {
	fd, err := syscall.Dup(1)
	if err != nil {
		return fmt.Errorf("keep standard output: %w", err)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Dup3(2, 1, 0); err != nil {
		return fmt.Errorf("keep standard output: %w", err)
	}
	os.Stdout = os.NewFile(uintptr(fd), "stdout")
	return nil
}
