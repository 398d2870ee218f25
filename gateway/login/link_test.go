package login_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

// A login that is linked from inside is held to the same gate as one that logs in, is written
// down, and keeps its tokens.
func TestALinkFromInsideIsWrittenDown(t *testing.T) {
	b := newTown(t)
	b.provider.infos["corp"] = plugin.Info{Name: "corp", Manifest: sdk.Manifest{ID: "oauth"}, AllowedDomains: []string{"corp.example"}}
	u := b.register(t)
	mine := login.Caller{UserID: u.ID, SessionID: account.NewID()}
	link := func(id sdk.Identity) (login.Outcome, error) {
		t.Helper()
		code := b.linkCode(t, mine, id)
		return b.Exchange(t.Context(), code, verifier, login.Attempt{Caller: &mine, Client: login.Client{IP: "192.0.2.8"}})
	}
	elsewhere := verified(sdk.Identity{Issuer: "https://id.example", Subject: "s-ann-1", Email: "ann@other.example"})
	if _, err := link(elsewhere); code(err) != sdk.CodeForbidden {
		t.Errorf("Exchange() for another domain = %v, want INSUFFICIENT_PERMISSIONS", err)
	}
	work := verified(sdk.Identity{Issuer: "https://id.example", Subject: "s-ann-2", Email: "ann@corp.example", Tokens: []byte("of corp")})
	out, err := link(work)
	if err != nil || out.Linked == nil {
		t.Fatalf("Exchange() = %+v, %v, want a link", out, err)
	}
	want := []audit.Event{{At: *b.now.Load(), Action: audit.IdentityLinked, UserID: u.ID, ActorID: u.ID, Details: map[string]string{
		"provider": "corp", "issuer": "https://id.example", "identity": out.Linked.ID, "email_domain": "corp.example",
		"rule": "from_account", "owner_proof": "mail", "ip": "192.0.2.8",
	}}}
	if d := cmp.Diff(want, b.events(t, u.ID)); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if got, err := b.Tokens(t.Context(), out.Linked.ID); err != nil || string(got) != "of corp" {
		t.Errorf("Tokens() = %q, %v, want those of the link", got, err)
	}
	work.Tokens = nil
	if again, err := link(work); err != nil || again.Linked.ID != out.Linked.ID || len(b.events(t, u.ID)) != 1 {
		t.Errorf("Exchange() once more = %+v, %v, want the same link and no other event", again.Linked, err)
	}
	if got, err := b.Tokens(t.Context(), out.Linked.ID); err != nil || got != nil {
		t.Errorf("Tokens() after a link without any = %q, %v, want none", got, err)
	}
}
