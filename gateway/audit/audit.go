// Package audit names what is written down of what happened to accounts: by whom, and on
// which grounds. An event is written in the transaction of what it tells, or neither is. It
// holds no secret and no whole address, so that it may be kept longer than what it is about.
package audit

import "time"

// Action is what was done.
type Action string

// The actions.
const (
	IdentityLinked   Action = "identity.linked"    // a login belongs to a user now
	IdentityUnlinked Action = "identity.unlinked"  // a login was taken from a user
	AccountTakenOver Action = "account.taken_over" // whoever registered an address that they never proved has lost the account
)

// The names of details.
const (
	Provider    = "provider"
	Issuer      = "issuer"
	Identity    = "identity"     // the id of the identity, by which the events of one belong together
	EmailDomain = "email_domain" // of the identity's address
	Rule        = "rule"         // that applied
	OwnerProof  = "owner_proof"  // how the user's own address was proven: "mail", or a provider's name
	Removed     = "removed"      // how many logins were removed
	IP          = "ip"           // where the request came from
)

// Event is one thing that was done.
type Event struct {
	At      time.Time
	Action  Action
	UserID  string // whose account
	ActorID string // who did it
	Details map[string]string
}
