package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"time"
)

// mails is a mail server that takes everything and remembers the links of verification mails.
type mails struct {
	ln    net.Listener
	conns sync.WaitGroup

	mu    sync.Mutex
	links map[string]string // by recipient
}

func listenForMails(address string) (*mails, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	m := &mails{ln: ln, links: map[string]string{}}
	m.conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed
			}
			m.conns.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				_ = m.serve(conn) // a gateway that breaks off tries again
			})
		}
	})
	return m, nil
}

func (m *mails) stop() {
	_ = m.ln.Close()
	m.conns.Wait()
}

// link returns the path of the link that was mailed to an address, empty if there is none.
func (m *mails) link(to string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.links[to]
}

var (
	verification = regexp.MustCompile(`/auth/verify/[A-Za-z0-9_-]{43}`)
	recipient    = regexp.MustCompile(`(?i)^RCPT TO:<([^>]+)>`)
)

// serve speaks as much of SMTP (RFC 5321) as it takes to be handed mails.
func (m *mails) serve(conn net.Conn) error {
	in := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, 10<<20)))
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 mails")
	var to []string
	for {
		line, err := in.ReadLine()
		if err != nil {
			return err
		}
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO", "HELO":
			say("250 mails")
		case "RCPT":
			if match := recipient.FindStringSubmatch(line); match != nil {
				to = append(to, match[1])
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			text, err := in.ReadDotBytes()
			if err != nil {
				return err
			}
			m.keep(to, text)
			to = nil
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return nil
		default:
			say("250 ok")
		}
	}
}

func (m *mails) keep(to []string, text []byte) {
	text = bytes.ReplaceAll(text, []byte("=\n"), nil) // soft line ends of quoted-printable
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, address := range to {
		if link := verification.Find(text); link != nil {
			m.links[address] = string(link)
		}
	}
}
