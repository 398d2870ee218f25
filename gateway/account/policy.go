package account

import (
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// Provider is what the operator says of a provider, as far as accounts are concerned. The
// zero value is a provider that is not configured: nothing of it is believed.
type Provider struct {
	Name           string
	TrustEmail     []string // domains of whose addresses its word is believed; "*" is any
	AllowedDomains []string // who may log in through it; none: everybody
}

// Trusts reports whether the provider's word on an address, which is canonical, is enough
// to join the account that has it.
func (p Provider) Trusts(email string) bool {
	return email != "" && (slices.Contains(p.TrustEmail, "*") || slices.Contains(p.TrustEmail, Domain(email)))
}

// Evidence is all that counts when somebody proves to be an identity.
type Evidence struct {
	Provider Provider // that says so
	Email    string   // of the identity, canonical; empty if it has none
	Verified bool     // the provider calls it verified
	Mailed   bool     // a link that the gateway mailed to this very address was followed

	Linked *User // whose the identity is; nil: it is new
	// Owner is who has the address; nil: nobody. It is asked for only if [Evidence.Asks].
	Owner *User
	// Voucher is the provider on whose word the owner's address counts as verified.
	Voucher Provider
}

// Asks reports whether it matters whose the address is. If not, it must not be looked up: an
// answer that depended on it would tell strangers who has an account.
func (e Evidence) Asks() bool { return e.Linked == nil && e.Email != "" && e.Verified }

// VerifiedBy is what is kept of how the address was proven: the name of the provider on
// whose word, or nothing if a mailed link was followed.
func (e Evidence) VerifiedBy() string {
	if e.Mailed {
		return ""
	}
	return e.Provider.Name
}

// Decision is whose an identity is.
type Decision int

// The decisions. The zero value refuses.
const (
	Refuse     Decision = iota // nobody's: the provider does not call its address verified
	SignInOld                  // nobody's yet: its address is somebody's, who must link it from the account
	UseLinked                  // the user's whom it is linked to
	MakeUser                   // a new user's
	JoinOwner                  // the user's who has the address
	TakeOver                   // that user's too, and nothing of whoever registered the address before is kept
	NotWelcome                 // the address is a suspended user's, and so would the identity be
)

// String is how a decision is recorded.
func (d Decision) String() string {
	switch d {
	case SignInOld:
		return "sign_in_old"
	case UseLinked:
		return "linked"
	case MakeUser:
		return "new_user"
	case JoinOwner:
		return "trusted_email"
	case TakeOver:
		return "trusted_email_unproven_account"
	case NotWelcome:
		return "suspended"
	}
	return "refuse"
}

// Decide says whose an identity is. An address alone joins nothing: both sides must have
// proven it, each by something that the operator believes. That is by a mailed link, or on
// the word of a provider that is trusted for the domain.
func Decide(e Evidence) Decision {
	switch {
	case e.Linked != nil:
		return UseLinked
	case !e.Asks():
		return Refuse
	case e.Owner == nil:
		return MakeUser
	case !e.Provider.Trusts(e.Email):
		return SignInOld
	case e.Owner.Status == Suspended:
		return NotWelcome
	case !e.Owner.Verified:
		// Whoever registered the address never showed that it is theirs. The owner has come.
		return TakeOver
	case !e.Owner.Proven(e.Voucher):
		return SignInOld
	}
	return JoinOwner
}

// Proven reports whether a user's address may be told to others as theirs. On the word of a
// provider that is not trusted for the domain it may not: whoever holds accounts by address
// would take its word for any address that nobody has here. Voucher is the provider that
// [User.VerifiedBy] names.
func (u User) Proven(voucher Provider) bool {
	return u.Verified && (u.VerifiedBy == "" || voucher.Trusts(u.Email))
}

// CodeSuspended says that an administrator has suspended the account.
const CodeSuspended = "ACCOUNT_SUSPENDED"

// Entry is somebody at the gate: a user, as the login is about to leave them, and the
// identity that they came by. What a workspace demands will be further fields of it.
type Entry struct {
	User     User
	Provider Provider
	Email    string // of the identity, canonical
	Verified bool   // the provider calls it verified
}

// Admit is the gate behind every kind of login. It returns nothing for who may enter, or
// the public code of the reason why not. The account comes before the way that was taken to
// it, so that somebody who is suspended hears the same whichever way they try.
func Admit(e Entry) (denied string) {
	switch e.User.Status {
	case Active:
	case Suspended:
		return CodeSuspended
	case Pending:
		return sdk.CodeEmailNotVerified
	default:
		return sdk.CodeInvalidCredentials
	}
	if !e.User.Verified {
		return sdk.CodeEmailNotVerified
	}
	allowed := e.Provider.AllowedDomains
	if len(allowed) > 0 && (!e.Verified || e.Email == "" || !slices.Contains(allowed, Domain(e.Email))) {
		return sdk.CodeForbidden
	}
	return ""
}

// Domain returns what stands behind the at sign of a canonical address.
func Domain(email string) string { return email[strings.LastIndexByte(email, '@')+1:] }
