package account_test

import (
	"testing"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/sdk"
)

const (
	victim = "ann@example.com"
	mailed = "" // how a user's address was proven
)

var (
	company  = account.Provider{Name: "company", TrustEmail: []string{"example.com", "other.example"}}
	anyone   = account.Provider{Name: "anyone", TrustEmail: []string{"*"}}
	stranger = account.Provider{Name: "stranger"}
	gone     = account.Provider{} // not in the configuration any more
)

func owner(status account.Status, verified bool, by string) *account.User {
	return &account.User{ID: "u", Email: victim, Status: status, Verified: verified, VerifiedBy: by}
}

var (
	proven     = owner(account.Active, true, mailed)
	registered = owner(account.Pending, false, mailed) // with a password, by whoever it was
)

// The classes are those of "Pre-hijacked Accounts" (Sudhodanan and Paverd, USENIX Security
// 2022): an attacker is there first, with the victim's address, and waits.
func TestAccountsCannotBeHijackedBeforeTheirOwnerComes(t *testing.T) {
	for _, c := range []struct {
		name     string
		evidence account.Evidence
		want     account.Decision
	}{
		{
			"classic-federated merge: the attacker's password is there, the victim comes by a trusted provider",
			account.Evidence{Provider: company, Email: victim, Verified: true, Owner: registered}, account.TakeOver,
		}, {
			"classic-federated merge: by a provider that nobody trusts",
			account.Evidence{Provider: stranger, Email: victim, Verified: true, Owner: registered}, account.SignInOld,
		}, {
			"unexpired session: what a takeover leaves, it does not leave; one that is suspended stays so",
			account.Evidence{Provider: company, Email: victim, Verified: true, Owner: owner(account.Suspended, false, mailed)}, account.NotWelcome,
		}, {
			"trojan identifier: the attacker's own identity made the account with the victim's address",
			account.Evidence{Provider: company, Email: victim, Verified: true, Owner: owner(account.Active, true, "stranger"), Voucher: stranger}, account.SignInOld,
		}, {
			"trojan identifier: its provider was removed since",
			account.Evidence{Provider: company, Email: victim, Verified: true, Owner: owner(account.Active, true, "stranger"), Voucher: gone}, account.SignInOld,
		}, {
			"unexpired e-mail change: an account without a proven address is never joined as it is",
			account.Evidence{Provider: anyone, Email: victim, Verified: true, Owner: owner(account.Active, false, mailed)}, account.TakeOver,
		}, {
			"non-verifying provider: it says whatever its users type",
			account.Evidence{Provider: anyone, Email: victim, Owner: proven}, account.Refuse,
		}, {
			"non-verifying provider: nor does it make an account for a victim who will come",
			account.Evidence{Provider: anyone, Email: victim}, account.Refuse,
		}, {
			"nOAuth: the address is changed at the provider, which calls it verified and is not trusted for its domain",
			account.Evidence{Provider: company, Email: "ann@victim.example", Verified: true, Owner: proven}, account.SignInOld,
		}, {
			"nOAuth: or by one that is trusted for nothing",
			account.Evidence{Provider: stranger, Email: victim, Verified: true, Owner: proven}, account.SignInOld,
		}, {
			"nOAuth: the address of a linked identity is not looked at",
			account.Evidence{Provider: company, Email: "eve@example.com", Verified: true, Linked: proven}, account.UseLinked,
		}, {
			"a domain below a trusted one is another",
			account.Evidence{Provider: company, Email: "ann@evil.example.com", Verified: true, Owner: proven}, account.SignInOld,
		}, {
			"and so is one that ends like it",
			account.Evidence{Provider: company, Email: "ann@notexample.com", Verified: true, Owner: proven}, account.SignInOld,
		}, {
			"a link that was mailed in this flow proves the address and trusts nobody",
			account.Evidence{Provider: stranger, Email: victim, Verified: true, Mailed: true, Owner: proven}, account.SignInOld,
		},
	} {
		if got := account.Decide(c.evidence); got != c.want {
			t.Errorf("%s: Decide() = %s, want %s", c.name, got, c.want)
		}
	}
}

func TestHonestLoginsFindTheirUser(t *testing.T) {
	for _, c := range []struct {
		name     string
		evidence account.Evidence
		want     account.Decision
	}{
		{"a new person", account.Evidence{Provider: stranger, Email: victim, Verified: true}, account.MakeUser},
		{"no address at all", account.Evidence{Provider: anyone, Verified: true}, account.Refuse},
		{"linked, without an address", account.Evidence{Provider: stranger, Linked: proven}, account.UseLinked},
		{"proven by mail", account.Evidence{Provider: company, Email: victim, Verified: true, Owner: proven}, account.JoinOwner},
		{"any domain is trusted", account.Evidence{Provider: anyone, Email: victim, Verified: true, Owner: proven}, account.JoinOwner},
		{"proven by another provider that is trusted", account.Evidence{
			Provider: company, Email: victim, Verified: true, Owner: owner(account.Active, true, "anyone"), Voucher: anyone,
		}, account.JoinOwner},
		{"proven by the same provider", account.Evidence{
			Provider: company, Email: victim, Verified: true, Owner: owner(account.Active, true, "company"), Voucher: company,
		}, account.JoinOwner},
		{"suspended, and not trusted", account.Evidence{
			Provider: stranger, Email: victim, Verified: true, Owner: owner(account.Suspended, true, mailed),
		}, account.SignInOld},
		{"suspended, and trusted", account.Evidence{
			Provider: company, Email: victim, Verified: true, Owner: owner(account.Suspended, true, mailed),
		}, account.NotWelcome},
	} {
		if got := account.Decide(c.evidence); got != c.want {
			t.Errorf("%s: Decide() = %s, want %s", c.name, got, c.want)
		}
	}
	if d := account.Decide(account.Evidence{}); d != account.Refuse {
		t.Errorf("Decide() of nothing = %s, want refuse", d)
	}
}

// What is not asked cannot be told: unless the address is proven, nobody looks whose it is.
func TestTheAddressIsLookedUpOnlyOnceItIsProven(t *testing.T) {
	for _, c := range []struct {
		name     string
		evidence account.Evidence
		want     bool
	}{
		{"proven", account.Evidence{Email: victim, Verified: true}, true},
		{"not verified", account.Evidence{Email: victim}, false},
		{"no address", account.Evidence{Verified: true}, false},
		{"linked", account.Evidence{Email: victim, Verified: true, Linked: proven}, false},
	} {
		if got := c.evidence.Asks(); got != c.want {
			t.Errorf("%s: Asks() = %t, want %t", c.name, got, c.want)
		}
		e := c.evidence
		e.Provider, e.Owner = anyone, proven
		c.evidence.Provider = anyone
		if same := account.Decide(e) == account.Decide(c.evidence); same == c.want {
			t.Errorf("%s: the owner of the address makes a difference: %t, want %t", c.name, !same, c.want)
		}
	}
}

func TestHowAnAddressWasProvenIsRemembered(t *testing.T) {
	e := account.Evidence{Provider: company, Email: victim, Verified: true}
	if got := e.VerifiedBy(); got != "company" {
		t.Errorf("VerifiedBy() = %q, want the provider", got)
	}
	e.Mailed = true
	if got := e.VerifiedBy(); got != "" {
		t.Errorf("VerifiedBy() after a mailed link = %q, want nothing", got)
	}
}

// Upstreams may hold accounts by address: the word of somebody who may say any address must
// not make another one's of theirs.
func TestOnlyBelievedAddressesAreToldToOthers(t *testing.T) {
	for _, c := range []struct {
		name    string
		user    *account.User
		voucher account.Provider
		want    bool
	}{
		{"by a mailed link", proven, gone, true},
		{"by a provider trusted for the domain", owner(account.Active, true, "company"), company, true},
		{"by a provider trusted for every domain", owner(account.Active, true, "anyone"), anyone, true},
		{"by a provider that nobody trusts", owner(account.Active, true, "stranger"), stranger, false},
		{"by a provider trusted for another domain", owner(account.Active, true, "company"), account.Provider{Name: "company", TrustEmail: []string{"corp.example"}}, false},
		{"by a provider that is gone", owner(account.Active, true, "former"), gone, false},
		{"by nobody", registered, gone, false},
	} {
		if got := c.user.Proven(c.voucher); got != c.want {
			t.Errorf("an address proven %s: Proven() = %t, want %t", c.name, got, c.want)
		}
	}
}

func TestTheGate(t *testing.T) {
	allowing := account.Provider{Name: "company", AllowedDomains: []string{"example.com", "other.example"}}
	for _, c := range []struct {
		name  string
		entry account.Entry
		want  string
	}{
		{"active", account.Entry{User: *proven, Provider: stranger}, ""},
		{"active, allowed", account.Entry{User: *proven, Provider: allowing, Email: "ann@other.example", Verified: true}, ""},
		{"suspended", account.Entry{User: *owner(account.Suspended, true, mailed), Provider: stranger, Email: victim, Verified: true}, "ACCOUNT_SUSPENDED"},
		{"suspended, of another domain", account.Entry{User: *owner(account.Suspended, true, mailed), Provider: allowing, Email: "ann@evil.example", Verified: true}, "ACCOUNT_SUSPENDED"},
		{"suspended, not verified", account.Entry{User: *owner(account.Suspended, false, mailed), Provider: stranger}, "ACCOUNT_SUSPENDED"},
		{"pending", account.Entry{User: *registered, Provider: stranger, Email: victim}, sdk.CodeEmailNotVerified},
		{"active, address not proven", account.Entry{User: *owner(account.Active, false, mailed), Provider: stranger}, sdk.CodeEmailNotVerified},
		{"deleted", account.Entry{User: *owner(account.Deleted, true, mailed), Provider: stranger}, sdk.CodeInvalidCredentials},
		{"of no status", account.Entry{}, sdk.CodeInvalidCredentials},
		{"another domain", account.Entry{User: *proven, Provider: allowing, Email: "ann@evil.example", Verified: true}, sdk.CodeForbidden},
		{"a domain below", account.Entry{User: *proven, Provider: allowing, Email: "ann@a.example.com", Verified: true}, sdk.CodeForbidden},
		{"allowed but not verified", account.Entry{User: *proven, Provider: allowing, Email: victim}, sdk.CodeForbidden},
		{"no address", account.Entry{User: *proven, Provider: allowing, Verified: true}, sdk.CodeForbidden},
		{"the user's address does not stand in for the identity's", account.Entry{User: *proven, Provider: allowing}, sdk.CodeForbidden},
	} {
		if got := account.Admit(c.entry); got != c.want {
			t.Errorf("%s: Admit() = %q, want %q", c.name, got, c.want)
		}
	}
}
