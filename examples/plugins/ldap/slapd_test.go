package ldap

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a real directory: Debian's slapd with a configuration and data of its own.
type server struct {
	plain  string // ldap:// URL
	secure string // ldaps:// URL
	ca     string // file
}

// entries are in the directory. There are three people of the name "twin", one whose name is
// full of what filters and names are made of, one without a password, and a referral.
const entries = `
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=others,dc=example,dc=com
objectClass: organizationalUnit
ou: others

dn: cn=shield,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: shield
userPassword: service-password

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: ann
cn: Ann Example
sn: Example
mail: ann@example.com
employeeType: staff
employeeType: admins
userPassword: correct horse

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
userPassword: bob-password

dn: uid=open,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: open
cn: No Password
sn: Password

dn: uid=twin,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: Twin One
sn: Twin
userPassword: twin-password

dn: uid=twin,ou=others,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: Twin Two
sn: Twin
userPassword: twin-password

dn: uid=twin3,ou=others,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin3
uid: twin
cn: Twin Three
sn: Twin
userPassword: twin-password

dn: uid=o\2Cu\3Dx\2B\22\5C (*),ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: o,u=x+"\ (*)
cn: Odd
sn: Odd
userPassword: odd-password

dn: ou=elsewhere,ou=people,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=people,dc=elsewhere
`

// configuration is slapd.conf. What nobody may read without a name, an attacker cannot
// either; a person reads the own entry alone.
const configuration = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
argsfile %[1]s/slapd.args
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
TLSCACertificateFile %[1]s/cert.pem
allow bind_anon_dn
database mdb
suffix "dc=example,dc=com"
rootdn "cn=root,dc=example,dc=com"
directory %[1]s/db
maxsize 16777216
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=shield,dc=example,dc=com" read by self read by * none
`

// start starts a directory, which stops with the test.
func start(t *testing.T) server {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t)
	write("cert.pem", cert)
	write("key.pem", key)
	write("data.ldif", entries[1:])
	write("slapd.conf", fmt.Sprintf(configuration, dir))
	if out, err := exec.Command("/usr/sbin/slapadd", "-f", filepath.Join(dir, "slapd.conf"), "-l", filepath.Join(dir, "data.ldif")).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v; deploy/test/toolchains.sh installs slapd\n%s", err, out)
	}
	plain, secure := free(t), free(t)
	s := server{"ldap://" + plain, "ldaps://" + secure, filepath.Join(dir, "cert.pem")}
	var log bytes.Buffer
	slapd := exec.Command("/usr/sbin/slapd", "-f", filepath.Join(dir, "slapd.conf"), "-h", s.plain+" "+s.secure, "-d", "0")
	slapd.Stderr = &log
	if err := slapd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = slapd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = slapd.Process.Kill()
		<-ended
	})
	for _, a := range []string{plain, secure} {
		if !listens(t.Context(), a, ended) {
			t.Fatalf("slapd does not listen on %s:\n%s", a, log.String())
		}
	}
	return s
}

// listens waits until somebody does.
func listens(ctx context.Context, address string, ended <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-tick.C:
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// free is an address of this machine that was so a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certificate returns one of 127.0.0.1 that signs itself, with its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
