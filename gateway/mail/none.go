package mail

import "errors"

// None stands in for a [Sender] where no mail is configured, as in a gateway that only
// checks the tokens of others. It takes no mail.
type None struct{}

// Seal refuses every message.
func (None) Seal(Message) (Queued, error) {
	return Queued{}, errors.New("no mail is configured: set mail.smtp or mail.directory")
}

// Wake does nothing.
func (None) Wake() {}
