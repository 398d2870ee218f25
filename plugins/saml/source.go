package saml

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// How long metadata is kept before it is asked for again.
const (
	usualRefresh = time.Hour
	leastRefresh = 5 * time.Minute // also after a failure, and for a key that is not known
	mostRefresh  = 24 * time.Hour
	mostKept     = 200 * 24 * time.Hour // without anybody logging in
)

// kept is metadata with when it was fetched and when it is fetched anew.
type kept struct {
	party
	fetched time.Time
	next    time.Time
}

// partyOf returns what is known of an identity provider now. Metadata that is due is fetched
// on the way; while that fails the last good one serves, until it and the grace are over.
func (p *Provider) partyOf(ctx context.Context, host sdk.Host, i *idp, now time.Time) (party, error) {
	if i.metadataURL == "" {
		return i.party, outdated(i.party.validUntil, now)
	}
	k, found, err := p.kept(ctx, host, i)
	if err != nil {
		return party{}, err
	}
	if found && now.Before(k.next) {
		return k.party, outdated(k.expires(p.settings.grace), now)
	}
	fresh, err := p.fetch(ctx, host, i, now)
	if err == nil {
		return fresh.party, nil
	}
	if !errors.Is(err, errAway) {
		return party{}, err
	}
	host.Log(sdk.LevelWarn, "metadata cannot be had", "idp", i.name, "reason", strings.TrimPrefix(err.Error(), errAway.Error()+": "))
	if !found || outdated(k.expires(p.settings.grace), now) != nil {
		return party{}, unavailable("there is no metadata that is good")
	}
	k.next = now.Add(leastRefresh)
	return k.party, p.keep(ctx, host, i, k)
}

// renewed fetches the metadata although it is not due, for a key that is in none of what is
// known, and returns whether it is worth another try. It does so once in a while alone, or
// whoever sends forgeries would have the gateway ask for each.
func (p *Provider) renewed(ctx context.Context, host sdk.Host, i *idp, now time.Time) (party, bool) {
	if i.metadataURL == "" || now.Before(p.renewals[i.name].Add(leastRefresh)) {
		return party{}, false
	}
	k, found, err := p.kept(ctx, host, i)
	if err != nil || found && now.Before(k.fetched.Add(leastRefresh)) {
		return party{}, false
	}
	if p.renewals == nil {
		p.renewals = map[string]time.Time{}
	}
	p.renewals[i.name] = now
	fresh, err := p.fetch(ctx, host, i, now)
	return fresh.party, err == nil
}

// expires is when metadata is out of date: when it says so, else when the grace is over that
// begins when it is due. Whoever keeps us from fetching must not make a key that was withdrawn
// last longer than its metadata promised.
func (k kept) expires(grace time.Duration) time.Time {
	if !k.validUntil.IsZero() {
		return k.validUntil
	}
	return k.fetched.Add(k.refresh() + grace)
}

func (k kept) refresh() time.Duration {
	if k.cacheFor == 0 {
		return usualRefresh
	}
	return min(max(k.cacheFor, leastRefresh), mostRefresh)
}

func outdated(expires, now time.Time) error {
	if !expires.IsZero() && now.After(expires) {
		return unavailable("the metadata is out of date")
	}
	return nil
}

func unavailable(private string) error {
	return &sdk.Error{Code: sdk.CodeUnavailable, Public: "The identity provider cannot be reached.", Private: private}
}

// errAway says that metadata cannot be had or is none.
var errAway = errors.New("metadata")

// fetch fetches the metadata of an identity provider and keeps it.
func (p *Provider) fetch(ctx context.Context, host sdk.Host, i *idp, now time.Time) (kept, error) {
	answer, err := host.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: i.metadataURL, Header: []sdk.HTTPHeader{
		{Name: "Accept", Value: "application/samlmetadata+xml, application/xml, text/xml"},
	}})
	if errors.Is(err, sdk.ErrUnreachable) || errors.Is(err, sdk.ErrTooLarge) || errors.Is(err, sdk.ErrDenied) {
		return kept{}, fmt.Errorf("%w: %w", errAway, err)
	}
	if err != nil {
		return kept{}, fmt.Errorf("fetch metadata: %w", err)
	}
	if answer.Status != 200 {
		return kept{}, fmt.Errorf("%w: status %d", errAway, answer.Status)
	}
	said, err := p.said(ctx, host, i, answer.Body)
	if err != nil {
		return kept{}, err
	}
	if !said.validUntil.IsZero() && now.After(said.validUntil) {
		return kept{}, fmt.Errorf("%w: out of date", errAway)
	}
	k := kept{party: said, fetched: now}
	k.next = now.Add(k.refresh())
	if !k.validUntil.IsZero() && k.validUntil.Before(k.next) {
		k.next = k.validUntil
	}
	return k, p.keep(ctx, host, i, k)
}

// said reads metadata, of which only what is signed counts if it has to be.
func (p *Provider) said(ctx context.Context, host sdk.Host, i *idp, body []byte) (party, error) {
	if i.signer == nil {
		said, err := readMetadata(body, i.entityID)
		if err != nil {
			return party{}, fmt.Errorf("%w: malformed", errAway)
		}
		return said, nil
	}
	signed, err := host.XMLDSig().Verify(ctx, sdk.XMLVerification{
		Document: body, Certificates: [][]byte{i.signer}, Namespace: nsMetadata, Element: "EntityDescriptor",
	})
	if _, ok := errors.AsType[*sdk.Refused](err); ok {
		return party{}, fmt.Errorf("%w: signature", errAway)
	}
	if err != nil {
		return party{}, fmt.Errorf("verify metadata: %w", err)
	}
	root, err := readSigned(signed)
	if err != nil {
		return party{}, fmt.Errorf("%w: malformed", errAway)
	}
	said, err := partyFrom(root, i.entityID)
	if err != nil {
		return party{}, fmt.Errorf("%w: malformed", errAway)
	}
	return said, nil
}

// key is where metadata is kept. Other settings have another key, so that what was fetched
// for the old ones does not count.
func (i *idp) key() string {
	return "metadata/" + i.name + "/" + digest(i.entityID, i.metadataURL, string(i.signer))
}

// digest returns a short name for texts that may be long or personal.
func digest(texts ...string) string {
	sum := sha256.New()
	for _, t := range texts {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(t), t)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// keep writes metadata down, a line for each thing, since it is read in a guest at each login.
func (p *Provider) keep(ctx context.Context, host sdk.Host, i *idp, k kept) error {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "1\n%d\n%d\n%d\n%d\n%t\n", k.fetched.Unix(), k.next.Unix(), unixOf(k.validUntil), int64(k.cacheFor), k.wantsSigned)
	for _, c := range k.certificates {
		b.WriteString("key " + base64.StdEncoding.EncodeToString(c) + "\n")
	}
	for _, e := range k.sso {
		b.WriteString("sso " + e.binding + " " + e.url + " \n")
	}
	for _, e := range k.slo {
		b.WriteString("slo " + e.binding + " " + e.url + " " + e.response + "\n")
	}
	if err := host.KV().Set(ctx, i.key(), b.Bytes(), mostKept); err != nil {
		return fmt.Errorf("keep metadata: %w", err)
	}
	return nil
}

func unixOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func timeOf(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}

// kept reads what keep wrote.
func (p *Provider) kept(ctx context.Context, host sdk.Host, i *idp) (kept, bool, error) {
	entry, found, err := host.KV().Get(ctx, i.key())
	if err != nil {
		return kept{}, false, fmt.Errorf("read metadata: %w", err)
	}
	if !found {
		return kept{}, false, nil
	}
	k, ok := parseKept(string(entry.Value))
	return k, ok, nil
}

func parseKept(text string) (kept, bool) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 7 || lines[0] != "1" {
		return kept{}, false
	}
	var numbers [4]int64
	for n := range numbers {
		value, err := strconv.ParseInt(lines[n+1], 10, 64)
		if err != nil {
			return kept{}, false
		}
		numbers[n] = value
	}
	k := kept{fetched: timeOf(numbers[0]), next: timeOf(numbers[1])}
	k.validUntil, k.cacheFor, k.wantsSigned = timeOf(numbers[2]), time.Duration(numbers[3]), lines[5] == "true"
	for _, line := range lines[6:] {
		part := strings.Split(line, " ")
		switch {
		case part[0] == "key" && len(part) == 2:
			der, err := base64.StdEncoding.DecodeString(part[1])
			if err != nil {
				return kept{}, false
			}
			k.certificates = append(k.certificates, der)
		case part[0] == "sso" && len(part) == 4:
			k.sso = append(k.sso, endpoint{binding: part[1], url: part[2]})
		case part[0] == "slo" && len(part) == 4:
			k.slo = append(k.slo, endpoint{binding: part[1], url: part[2], response: part[3]})
		default:
			return kept{}, false
		}
	}
	return k, true
}
