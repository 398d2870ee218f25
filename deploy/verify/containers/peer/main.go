// Peer is what the checks of the image put beside it, and into it: a server of files, by HTTP
// or HTTPS, and a look at which directories may be written to, from within an image that has
// no shell.
//
//	peer serve -listen ADDR [-cert FILE -key FILE] DIR
//	peer writable
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "writable":
		return writable("/")
	case len(args) > 1 && args[0] == "serve":
		return serve(args[1:])
	}
	return errors.New("usage: peer serve -listen ADDR [-cert FILE -key FILE] DIR, or peer writable")
}

// serve serves the files of a directory until it is killed.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8080", "host:port to listen on")
	cert := flags.String("cert", "", "PEM of the certificate, for HTTPS")
	key := flags.String("key", "", "PEM of its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("serve wants one directory")
	}
	server := http.Server{Addr: *listen, Handler: http.FileServer(http.Dir(flags.Arg(0))), ReadHeaderTimeout: 5 * time.Second}
	if *cert == "" {
		return server.ListenAndServe()
	}
	return server.ListenAndServeTLS(*cert, *key)
}

// writable prints every directory in which this process can make a file, and every file that
// it could write to.
func writable(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // what cannot be read is not looked into
		case path == "/proc" || path == "/sys" || path == "/dev":
			return fs.SkipDir // the kernel's, not the image's
		case entry.IsDir() && canCreate(path), entry.Type().IsRegular() && canWrite(path):
			_, err = fmt.Println(strings.TrimSuffix(path, "/"))
		}
		return err
	})
}

func canCreate(dir string) bool {
	f, err := os.CreateTemp(dir, ".peer-*")
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), os.Remove(f.Name())) == nil
}

func canWrite(file string) bool {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
}
