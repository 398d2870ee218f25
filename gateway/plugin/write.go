package plugin

import "time"

// Write is a staged change of a provider's key-value map, or an entry that the answer was
// computed from. It is applied with the answer of the call that made it, in one
// transaction, or not at all.
type Write struct {
	Provider  string
	Key       string
	Value     []byte
	Delete    bool
	ExpiresAt time.Time // zero: never
	Checked   bool      // apply only if the entry's version is still IfVersion
	IfVersion int64     // 0: only if there is no entry
	ReadOnly  bool      // the entry stays as it is; Checked is set
}
