package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"slices"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/materi/shield/config"
)

// server hands mails to an SMTP server, each over a connection of its own: the mails of a
// login are few, and a connection that waits is one more thing that can be stale.
type server struct {
	cfg config.SMTP
	tls *tls.Config
}

func newServer(cfg config.SMTP) (*server, error) {
	roots, err := rootsWith(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, tls: &tls.Config{ServerName: cfg.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}}
	if _, err := s.client(nil); err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	return s, nil
}

// rootsWith returns the system's authorities and those of a PEM file, or nil, which means
// the system's, where no file is named.
func rootsWith(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authority of the mail server: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without authorities of its own
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authority of the mail server: no certificate in %s", file)
	}
	return roots, nil
}

// timeout bounds one deliver: the library grants cfg.Timeout up to the login and as much
// again from there.
func (s *server) timeout() time.Duration { return 2 * s.cfg.Timeout }

// deliver returns nil once the server has taken the mail, whatever happens to the
// connection afterwards: an error then would send it twice.
func (s *server) deliver(ctx context.Context, l letter) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	var conn net.Conn
	client, err := s.client(func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := s.dial(ctx, network, address)
		if err == nil {
			conn = c
		}
		return c, err
	})
	if err != nil {
		return fmt.Errorf("mail server: %w", err)
	}
	defer func() {
		if conn != nil {
			_ = conn.Close() // the library leaves it open when STARTTLS or the login fails
		}
	}()
	if err := client.DialAndSendWithContext(ctx, l.msg); err != nil && !l.msg.IsDelivered() {
		return err
	}
	return nil
}

func (s *server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.cfg.TLS == "implicit" {
		return (&tls.Dialer{Config: s.tls}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (s *server) client(dial gomail.DialContextFunc) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(s.cfg.Port),
		gomail.WithTimeout(s.cfg.Timeout),
		gomail.WithTLSConfig(s.tls),
	}
	if dial != nil {
		options = append(options, gomail.WithDialContextFunc(dial))
	}
	switch s.cfg.TLS {
	case "starttls":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case "implicit":
		options = append(options, gomail.WithSSL())
	case "none":
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("tls is %q; want starttls, implicit or none", s.cfg.TLS)
	}
	if s.cfg.Username != "" {
		options = append(options, gomail.WithSMTPAuthCustom(&passwordAuth{cfg: s.cfg}))
	}
	return gomail.NewClient(s.cfg.Host, options...)
}

// passwordAuth logs in with PLAIN, or with LOGIN at a server that knows nothing else. The
// connection is encrypted before (or on loopback, by configuration), so a mechanism that
// hides the password would add nothing. It serves one connection.
type passwordAuth struct {
	cfg    config.SMTP
	chosen smtp.Auth
}

// Start implements smtp.Auth.
func (a *passwordAuth) Start(info *smtp.ServerInfo) (proto string, toServer []byte, err error) {
	clear := a.cfg.TLS == "none"
	switch {
	case slices.Contains(info.Auth, "PLAIN"):
		a.chosen = smtp.PlainAuth("", a.cfg.Username, a.cfg.Password.Reveal(), a.cfg.Host, clear)
	case slices.Contains(info.Auth, "LOGIN"):
		a.chosen = smtp.LoginAuth(a.cfg.Username, a.cfg.Password.Reveal(), a.cfg.Host, clear)
	default:
		return "", nil, errNoAuth
	}
	return a.chosen.Start(info)
}

// Next implements smtp.Auth.
func (a *passwordAuth) Next(fromServer []byte, more bool) ([]byte, error) {
	return a.chosen.Next(fromServer, more)
}

var errNoAuth = errors.New("the mail server offers neither AUTH PLAIN nor AUTH LOGIN")

// cause says why a delivery failed, for the log. What a server answered is left out but for
// its codes, since servers repeat addresses.
func cause(err error) string {
	var send *gomail.SendError
	if errors.As(err, &send) {
		return fmt.Sprintf("%s: the mail server answered %d %s", send.Reason, send.ErrorCode(), send.EnhancedStatusCode())
	}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return fmt.Sprintf("the mail server answered %d", reply.Code)
	}
	var garbled textproto.ProtocolError
	if errors.As(err, &garbled) {
		return "the mail server does not speak SMTP"
	}
	return err.Error()
}
