package wire

import "github.com/materi/shield/sdk"

// Call is the CallRequest message, the request of [Begin] and [Continue].
type Call struct {
	Flow    sdk.Flow
	Request sdk.Request
}

// Reply is the CallReply message: a step or an error, and the flow that it belongs to.
type Reply struct {
	FlowID string
	Step   *sdk.Step
	Error  *sdk.Error
}

// Document is the ServeReply message: a response or an error.
type Document struct {
	Response *sdk.Response
	Error    *sdk.Error
}

// EncodeCall returns a CallRequest message.
func EncodeCall(m Call) []byte {
	b := appendMessage(nil, 1, encodeFlow(m.Flow))
	return appendMessage(b, 2, encodeRequest(m.Request))
}

// DecodeCall reads a CallRequest message.
func DecodeCall(b []byte) (Call, error) {
	var m Call
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return toMessage(f, &m.Flow, decodeFlow)
		case 2:
			return toMessage(f, &m.Request, decodeRequest)
		}
		return nil
	})
	return m, err
}

func encodeFlow(m sdk.Flow) []byte {
	b := appendString([]byte(nil), 1, m.ID)
	b = appendString(b, 2, m.Kind)
	b = appendString(b, 3, m.Form)
	b = appendString(b, 4, m.CallbackURL)
	b = appendString(b, 5, m.State)
	b = appendString(b, 6, m.Nonce)
	b = appendString(b, 7, m.PKCEVerifier)
	b = appendString(b, 8, m.PKCEChallenge)
	b = appendString(b, 9, m.Subject)
	b = appendBytes(b, 10, m.Saved)
	b = appendTime(b, 11, m.StartedAt)
	return appendString(b, 12, m.Session)
}

func decodeFlow(b []byte, m *sdk.Flow) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.ID)
		case 2:
			return toString(f, &m.Kind)
		case 3:
			return toString(f, &m.Form)
		case 4:
			return toString(f, &m.CallbackURL)
		case 5:
			return toString(f, &m.State)
		case 6:
			return toString(f, &m.Nonce)
		case 7:
			return toString(f, &m.PKCEVerifier)
		case 8:
			return toString(f, &m.PKCEChallenge)
		case 9:
			return toString(f, &m.Subject)
		case 10:
			return f.toBytes(&m.Saved)
		case 11:
			return f.toTime(&m.StartedAt)
		case 12:
			return toString(f, &m.Session)
		}
		return nil
	})
}

func encodeRequest(m sdk.Request) []byte {
	b := appendMap(nil, 1, m.Fields)
	b = appendString(b, 2, m.Path)
	b = appendString(b, 3, m.IP)
	b = appendString(b, 4, m.UserAgent)
	b = appendString(b, 5, m.Locale)
	b = appendTime(b, 6, m.Now)
	return appendMap(b, 7, m.Headers)
}

func decodeRequest(b []byte, m *sdk.Request) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toMap(f, &m.Fields)
		case 2:
			return toString(f, &m.Path)
		case 3:
			return toString(f, &m.IP)
		case 4:
			return toString(f, &m.UserAgent)
		case 5:
			return toString(f, &m.Locale)
		case 6:
			return f.toTime(&m.Now)
		case 7:
			return toMap(f, &m.Headers)
		}
		return nil
	})
}

// EncodeReply returns a CallReply message. At most one of Step and Error may be set.
func EncodeReply(m Reply) []byte {
	b := appendString([]byte(nil), 1, m.FlowID)
	if m.Step != nil {
		b = appendMessage(b, 2, encodeStep(*m.Step))
	}
	if m.Error != nil {
		b = appendMessage(b, 3, encodeError(*m.Error))
	}
	return b
}

// DecodeReply reads a CallReply message.
func DecodeReply(b []byte) (Reply, error) {
	var m Reply
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.FlowID)
		case 2:
			m.Error = nil
			return toOption(f, &m.Step, decodeStep)
		case 3:
			m.Step = nil
			return toOption(f, &m.Error, decodeError)
		}
		return nil
	})
	return m, err
}

func encodeError(m sdk.Error) []byte {
	b := appendString([]byte(nil), 1, m.Code)
	b = appendString(b, 2, m.Public)
	return appendString(b, 3, m.Private)
}

func decodeError(b []byte, m *sdk.Error) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Code)
		case 2:
			return toString(f, &m.Public)
		case 3:
			return toString(f, &m.Private)
		}
		return nil
	})
}

// EncodeServe returns a ServeRequest message, the request of [Serve].
func EncodeServe(m sdk.Request) []byte { return appendMessage(nil, 1, encodeRequest(m)) }

// DecodeServe reads a ServeRequest message.
func DecodeServe(b []byte) (sdk.Request, error) {
	var m sdk.Request
	err := each(b, func(f field) error {
		if f.num == 1 {
			return toMessage(f, &m, decodeRequest)
		}
		return nil
	})
	return m, err
}

// EncodeDocument returns a ServeReply message. At most one of Response and Error may be
// set.
func EncodeDocument(m Document) []byte {
	var b []byte
	if m.Response != nil {
		b = appendMessage(b, 1, encodeResponse(*m.Response))
	}
	if m.Error != nil {
		b = appendMessage(b, 2, encodeError(*m.Error))
	}
	return b
}

// DecodeDocument reads a ServeReply message.
func DecodeDocument(b []byte) (Document, error) {
	var m Document
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			m.Error = nil
			return toOption(f, &m.Response, decodeResponse)
		case 2:
			m.Response = nil
			return toOption(f, &m.Error, decodeError)
		}
		return nil
	})
	return m, err
}

func encodeResponse(m sdk.Response) []byte {
	b := appendUint(nil, 1, uint64(uint32(m.Status)))
	b = appendString(b, 2, m.ContentType)
	return appendBytes(b, 3, m.Body)
}

func decodeResponse(b []byte, m *sdk.Response) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			var status uint32
			err := f.toUint32(&status)
			m.Status = int(status)
			return err
		case 2:
			return toString(f, &m.ContentType)
		case 3:
			return f.toBytes(&m.Body)
		}
		return nil
	})
}
