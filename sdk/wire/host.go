package wire

import (
	"time"

	"github.com/materi/shield/sdk"
)

// Put is the Put message, the request of [KVSet] and [KVCompareAndSet].
type Put struct {
	Key     string
	Value   []byte
	TTL     time.Duration
	Version int64
}

// Record is the Record message, the request of [LogWrite].
type Record struct {
	Level   sdk.Level
	Message string
	Args    []string
}

// EncodeKey returns a Key message, the request of [KVGet] and [KVDelete].
func EncodeKey(key string) []byte { return appendString([]byte(nil), 1, key) }

// DecodeKey reads a Key message.
func DecodeKey(b []byte) (string, error) { return decodeText(b) }

// EncodeEntry returns an Entry message, the reply to [KVGet].
func EncodeEntry(m sdk.Entry, found bool) []byte {
	b := appendBool(nil, 1, found)
	b = appendBytes(b, 2, m.Value)
	return appendInt(b, 3, m.Version)
}

// DecodeEntry reads an Entry message.
func DecodeEntry(b []byte) (m sdk.Entry, found bool, err error) {
	err = each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBool(&found)
		case 2:
			return f.toBytes(&m.Value)
		case 3:
			return f.toInt(&m.Version)
		}
		return nil
	})
	return m, found, err
}

// EncodePut returns a Put message.
func EncodePut(m Put) []byte {
	b := appendString([]byte(nil), 1, m.Key)
	b = appendBytes(b, 2, m.Value)
	b = appendInt(b, 3, int64(m.TTL))
	return appendInt(b, 4, m.Version)
}

// DecodePut reads a Put message.
func DecodePut(b []byte) (Put, error) {
	var m Put
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Key)
		case 2:
			return f.toBytes(&m.Value)
		case 3:
			return f.toInt((*int64)(&m.TTL))
		case 4:
			return f.toInt(&m.Version)
		}
		return nil
	})
	return m, err
}

// EncodePassword returns a HashRequest or CommonRequest message, which look the same.
func EncodePassword(password string) []byte { return appendString([]byte(nil), 1, password) }

// DecodePassword reads a HashRequest or CommonRequest message.
func DecodePassword(b []byte) (string, error) { return decodeText(b) }

// EncodeHash returns a HashReply message, the reply to [PasswordHash].
func EncodeHash(hash string) []byte { return appendString([]byte(nil), 1, hash) }

// DecodeHash reads a HashReply message.
func DecodeHash(b []byte) (string, error) { return decodeText(b) }

// EncodeVerify returns a VerifyRequest message, the request of [PasswordVerify].
func EncodeVerify(hash, password string) []byte {
	return appendString(appendString([]byte(nil), 1, hash), 2, password)
}

// DecodeVerify reads a VerifyRequest message.
func DecodeVerify(b []byte) (hash, password string, err error) {
	err = each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &hash)
		case 2:
			return toString(f, &password)
		}
		return nil
	})
	return hash, password, err
}

// EncodeVerdict returns a VerifyReply message, the reply to [PasswordVerify].
func EncodeVerdict(ok, stale bool) []byte { return appendBool(appendBool(nil, 1, ok), 2, stale) }

// DecodeVerdict reads a VerifyReply message.
func DecodeVerdict(b []byte) (ok, stale bool, err error) {
	err = each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBool(&ok)
		case 2:
			return f.toBool(&stale)
		}
		return nil
	})
	return ok, stale, err
}

// EncodeCommon returns a CommonReply message, the reply to [PasswordCommon].
func EncodeCommon(common bool) []byte { return appendBool(nil, 1, common) }

// DecodeCommon reads a CommonReply message.
func DecodeCommon(b []byte) (common bool, err error) {
	err = each(b, func(f field) error {
		if f.num == 1 {
			return f.toBool(&common)
		}
		return nil
	})
	return common, err
}

// EncodeRecord returns a Record message.
func EncodeRecord(m Record) []byte {
	b := appendInt(nil, 1, int64(int32(m.Level)))
	b = appendString(b, 2, m.Message)
	return appendStrings(b, 3, m.Args)
}

// DecodeRecord reads a Record message.
func DecodeRecord(b []byte) (Record, error) {
	var m Record
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			m.Level = sdk.Level(int32(f.value))
			return f.is(typeVarint)
		case 2:
			return toString(f, &m.Message)
		case 3:
			return toStrings(f, &m.Args)
		}
		return nil
	})
	return m, err
}

// decodeText reads a message whose only field is the string 1.
func decodeText(b []byte) (s string, err error) {
	err = each(b, func(f field) error {
		if f.num == 1 {
			return toString(f, &s)
		}
		return nil
	})
	return s, err
}
