package wire

import "github.com/materi/shield/sdk"

// EncodeFetch returns a FetchRequest message, the request of [HTTPFetch].
func EncodeFetch(m sdk.HTTPRequest) []byte {
	b := appendString([]byte(nil), 1, m.Method)
	b = appendString(b, 2, m.URL)
	b = appendHeader(b, 3, m.Header)
	return appendBytes(b, 4, m.Body)
}

// DecodeFetch reads a FetchRequest message.
func DecodeFetch(b []byte) (sdk.HTTPRequest, error) {
	var m sdk.HTTPRequest
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Method)
		case 2:
			return toString(f, &m.URL)
		case 3:
			return toList(f, &m.Header, decodeHeader)
		case 4:
			return f.toBytes(&m.Body)
		}
		return nil
	})
	return m, err
}

// EncodeFetched returns a FetchReply message, the reply to [HTTPFetch].
func EncodeFetched(m sdk.HTTPResponse) []byte {
	b := appendUint(nil, 1, uint64(uint32(m.Status)))
	b = appendHeader(b, 2, m.Header)
	b = appendBytes(b, 3, m.Body)
	return appendString(b, 4, m.URL)
}

// DecodeFetched reads a FetchReply message.
func DecodeFetched(b []byte) (sdk.HTTPResponse, error) {
	var m sdk.HTTPResponse
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			var status uint32
			err := f.toUint32(&status)
			m.Status = int(status)
			return err
		case 2:
			return toList(f, &m.Header, decodeHeader)
		case 3:
			return f.toBytes(&m.Body)
		case 4:
			return toString(f, &m.URL)
		}
		return nil
	})
	return m, err
}

func appendHeader(b []byte, num int, header []sdk.HTTPHeader) []byte {
	for _, h := range header {
		b = appendMessage(b, num, appendString(appendString(nil, 1, h.Name), 2, h.Value))
	}
	return b
}

func decodeHeader(b []byte, m *sdk.HTTPHeader) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Name)
		case 2:
			return toString(f, &m.Value)
		}
		return nil
	})
}

// EncodeResult returns a Result message, the reply to what checks, signs or decrypts: a
// value, or why there is none.
func EncodeResult(value []byte, refused *sdk.Refused) []byte {
	if refused == nil {
		return appendBytes(nil, 1, value)
	}
	return appendElement(nil, 2, refused.Reason)
}

// DecodeResult reads a Result message. One that was refused is a [*sdk.Refused].
func DecodeResult(b []byte) (value []byte, err error) {
	var refused *sdk.Refused
	err = each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBytes(&value)
		case 2:
			refused = &sdk.Refused{}
			return toString(f, &refused.Reason)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return value, nil
}

// EncodeJWTVerify returns a JWTVerifyRequest message, the request of [JWTVerify].
func EncodeJWTVerify(m sdk.JWTVerification) []byte {
	b := appendString([]byte(nil), 1, m.Token)
	b = appendString(b, 2, m.Issuer)
	b = appendString(b, 3, m.Audience)
	b = appendString(b, 4, m.Nonce)
	b = appendStrings(b, 5, m.Algorithms)
	b = appendBytes(b, 6, m.Keys)
	b = appendString(b, 7, m.KeysURL)
	b = appendString(b, 8, m.AccessToken)
	return appendInt(b, 9, int64(m.MaxAge))
}

// DecodeJWTVerify reads a JWTVerifyRequest message.
func DecodeJWTVerify(b []byte) (sdk.JWTVerification, error) {
	var m sdk.JWTVerification
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Token)
		case 2:
			return toString(f, &m.Issuer)
		case 3:
			return toString(f, &m.Audience)
		case 4:
			return toString(f, &m.Nonce)
		case 5:
			return toStrings(f, &m.Algorithms)
		case 6:
			return f.toBytes(&m.Keys)
		case 7:
			return toString(f, &m.KeysURL)
		case 8:
			return toString(f, &m.AccessToken)
		case 9:
			return f.toInt((*int64)(&m.MaxAge))
		}
		return nil
	})
	return m, err
}

// EncodeJWTSign returns a JWTSignRequest message, the request of [JWTSign].
func EncodeJWTSign(m sdk.JWTAssertion) []byte {
	b := appendBytes(nil, 1, m.Claims)
	b = appendString(b, 2, m.Secret)
	b = appendString(b, 3, m.Algorithm)
	return appendString(b, 4, m.KeyID)
}

// DecodeJWTSign reads a JWTSignRequest message.
func DecodeJWTSign(b []byte) (sdk.JWTAssertion, error) {
	var m sdk.JWTAssertion
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBytes(&m.Claims)
		case 2:
			return toString(f, &m.Secret)
		case 3:
			return toString(f, &m.Algorithm)
		case 4:
			return toString(f, &m.KeyID)
		}
		return nil
	})
	return m, err
}

// EncodeXMLVerify returns an XMLVerifyRequest message, the request of [XMLVerify].
func EncodeXMLVerify(m sdk.XMLVerification) []byte {
	b := appendBytes(nil, 1, m.Document)
	b = appendBlobs(b, 2, m.Certificates)
	b = appendString(b, 3, m.Namespace)
	return appendString(b, 4, m.Element)
}

// DecodeXMLVerify reads an XMLVerifyRequest message.
func DecodeXMLVerify(b []byte) (sdk.XMLVerification, error) {
	var m sdk.XMLVerification
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBytes(&m.Document)
		case 2:
			return toBlobs(f, &m.Certificates)
		case 3:
			return toString(f, &m.Namespace)
		case 4:
			return toString(f, &m.Element)
		}
		return nil
	})
	return m, err
}

// Signing is a KeyUse message: bytes with the private key that shall sign or decrypt them.
// It is the request of [XMLSign], [XMLDecrypt] and [XMLSignBytes].
type Signing struct {
	Data        []byte
	Secret      string // name of the private key
	Certificate []byte // XMLSign: DER, of the key
	Algorithm   string // XMLSignBytes: URI
	Namespace   string // XMLSign: of the child that the signature follows
	After       string // XMLSign: its name
}

// EncodeSigning returns a KeyUse message.
func EncodeSigning(m Signing) []byte {
	b := appendBytes(nil, 1, m.Data)
	b = appendString(b, 2, m.Secret)
	b = appendBytes(b, 3, m.Certificate)
	b = appendString(b, 4, m.Algorithm)
	b = appendString(b, 5, m.Namespace)
	return appendString(b, 6, m.After)
}

// DecodeSigning reads a KeyUse message.
func DecodeSigning(b []byte) (Signing, error) {
	var m Signing
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBytes(&m.Data)
		case 2:
			return toString(f, &m.Secret)
		case 3:
			return f.toBytes(&m.Certificate)
		case 4:
			return toString(f, &m.Algorithm)
		case 5:
			return toString(f, &m.Namespace)
		case 6:
			return toString(f, &m.After)
		}
		return nil
	})
	return m, err
}

// Signature is a VerifyBytesRequest message, the request of [XMLVerifyBytes].
type Signature struct {
	Data         []byte
	Signature    []byte
	Certificates [][]byte
	Algorithm    string
}

// EncodeSignature returns a VerifyBytesRequest message.
func EncodeSignature(m Signature) []byte {
	b := appendBytes(nil, 1, m.Data)
	b = appendBytes(b, 2, m.Signature)
	b = appendBlobs(b, 3, m.Certificates)
	return appendString(b, 4, m.Algorithm)
}

// DecodeSignature reads a VerifyBytesRequest message.
func DecodeSignature(b []byte) (Signature, error) {
	var m Signature
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBytes(&m.Data)
		case 2:
			return f.toBytes(&m.Signature)
		case 3:
			return toBlobs(f, &m.Certificates)
		case 4:
			return toString(f, &m.Algorithm)
		}
		return nil
	})
	return m, err
}

// EncodeSecretName returns a SecretRequest message, the request of [SecretGet].
func EncodeSecretName(name string) []byte { return appendString([]byte(nil), 1, name) }

// DecodeSecretName reads a SecretRequest message.
func DecodeSecretName(b []byte) (string, error) { return decodeText(b) }

// EncodeSecret returns a SecretReply message, the reply to [SecretGet].
func EncodeSecret(value string, found bool) []byte {
	return appendString(appendBool(nil, 1, found), 2, value)
}

// DecodeSecret reads a SecretReply message.
func DecodeSecret(b []byte) (value string, found bool, err error) {
	err = each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBool(&found)
		case 2:
			return toString(f, &value)
		}
		return nil
	})
	return value, found, err
}

// EncodeMAC returns a MACRequest message, the request of [SecretMAC]. Its reply is a Result.
func EncodeMAC(name string, message []byte) []byte {
	return appendBytes(appendString([]byte(nil), 1, name), 2, message)
}

// DecodeMAC reads a MACRequest message.
func DecodeMAC(b []byte) (name string, message []byte, err error) {
	err = each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &name)
		case 2:
			return f.toBytes(&message)
		}
		return nil
	})
	return name, message, err
}
