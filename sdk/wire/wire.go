// Package wire is the contract between gateway and provider as bytes: the messages of
// provider.proto, for both transports and both sides. The codec is written by hand and
// uses neither reflection nor anything outside the standard library, because it is linked
// into every guest: it makes a Go guest less than half the size of one with generated
// messages, and decodes twice as fast.
//
// Decoding follows protobuf: unknown fields are skipped, of a repeated single field the
// last counts, messages merge. It is stricter where that costs no honest sender anything:
// a known field of the wrong type is an error, groups are refused, and sizes are bounded
// by [MaxMessage] and [MaxRepeated]. What is decoded never aliases the input.
package wire

import (
	"errors"

	"github.com/materi/shield/sdk"
)

// Bounds of every message.
const (
	MaxMessage  = 1 << 20 // bytes
	MaxRepeated = 1024    // elements of one repeated or map field
)

// Method is a function of the provider.
type Method uint32

// The methods.
const (
	Describe Method = iota + 1
	Configure
	Begin
	Continue
	Serve
)

// String returns the method's name as metrics and logs have it.
func (m Method) String() string {
	switch m {
	case Describe:
		return "describe"
	case Configure:
		return "configure"
	case Begin:
		return "begin"
	case Continue:
		return "continue"
	case Serve:
		return "serve"
	}
	return "unknown"
}

// Status is what a WASM module's shield_call returns.
type Status int32

// The statuses.
const (
	StatusOK Status = iota
	StatusMalformed
	StatusUnknownMethod
	StatusNoProvider
)

// Function is one function of the host, part of a capability.
type Function struct {
	Capability sdk.Capability
	Name       string
}

// Module is the import module that holds the function.
func (f Function) Module() string { return "shield_" + string(f.Capability) }

// The functions of the host.
var (
	KVGet           = Function{sdk.CapabilityKV, "get"}
	KVSet           = Function{sdk.CapabilityKV, "set"}
	KVCompareAndSet = Function{sdk.CapabilityKV, "compare_and_set"}
	KVDelete        = Function{sdk.CapabilityKV, "delete"}
	PasswordHash    = Function{sdk.CapabilityPassword, "hash"}
	PasswordVerify  = Function{sdk.CapabilityPassword, "verify"}
	PasswordCommon  = Function{sdk.CapabilityPassword, "common"}
	LogWrite        = Function{sdk.CapabilityLog, "write"}
	HTTPFetch       = Function{sdk.CapabilityHTTP, "fetch"}
	JWTVerify       = Function{sdk.CapabilityJWT, "verify"}
	JWTSign         = Function{sdk.CapabilityJWT, "sign"}
	XMLVerify       = Function{sdk.CapabilityXMLDSig, "verify"}
	XMLSign         = Function{sdk.CapabilityXMLDSig, "sign"}
	XMLDecrypt      = Function{sdk.CapabilityXMLDSig, "decrypt"}
	XMLSignBytes    = Function{sdk.CapabilityXMLDSig, "sign_bytes"}
	XMLVerifyBytes  = Function{sdk.CapabilityXMLDSig, "verify_bytes"}
	SecretGet       = Function{sdk.CapabilitySecret, "get"}
	SecretMAC       = Function{sdk.CapabilitySecret, "mac"}
)

// Functions returns all functions of the host.
func Functions() []Function {
	return []Function{
		KVGet, KVSet, KVCompareAndSet, KVDelete,
		PasswordHash, PasswordVerify, PasswordCommon,
		LogWrite,
		HTTPFetch,
		JWTVerify, JWTSign,
		XMLVerify, XMLSign, XMLDecrypt, XMLSignBytes, XMLVerifyBytes,
		SecretGet, SecretMAC,
	}
}

// What a function of the host returns in place of the length of its reply.
const (
	codeNotGranted = -1
	codeConflict   = -2
	codeTooLarge   = -3
	codeMalformed  = -4
	codeFailed     = -5
	codeInvalid    = -6

	// Since version 2 of the contract.
	codeDenied      = -7
	codeUnreachable = -8
	codeExhausted   = -9
)

// ErrMalformed says that bytes are not the message that they should be.
var ErrMalformed = errors.New("malformed message")

// ErrHost says that the host could not do its part, for instance because its database is
// away. The reason stays in the host.
var ErrHost = errors.New("host failed")

// codes are the errors of the host's functions with the numbers that stand for them.
func codes() []code {
	return []code{
		{codeNotGranted, sdk.ErrNotGranted},
		{codeConflict, sdk.ErrConflict},
		{codeTooLarge, sdk.ErrTooLarge},
		{codeMalformed, ErrMalformed},
		{codeInvalid, sdk.ErrInvalid},
		{codeDenied, sdk.ErrDenied},
		{codeUnreachable, sdk.ErrUnreachable},
		{codeExhausted, sdk.ErrExhausted},
	}
}

type code struct {
	number int32
	err    error
}

// Code returns the negative number that stands for an error of a host function.
func Code(err error) int32 {
	for _, c := range codes() {
		if errors.Is(err, c.err) {
			return c.number
		}
	}
	return codeFailed
}

// Err returns the error that a negative result of a host function stands for, nil for a
// result that is a length.
func Err(result int32) error {
	if result >= 0 {
		return nil
	}
	for _, c := range codes() {
		if c.number == result {
			return c.err
		}
	}
	return ErrHost
}
