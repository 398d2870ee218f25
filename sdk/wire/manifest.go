package wire

import "github.com/materi/shield/sdk"

// EncodeManifest returns the Manifest message, the reply to [Describe].
func EncodeManifest(m sdk.Manifest) []byte {
	b := appendString([]byte(nil), 1, m.ID)
	b = appendString(b, 2, m.Version)
	b = appendUint(b, 3, uint64(m.ABI))
	b = appendString(b, 4, m.Kind)
	for _, f := range m.Forms {
		b = appendMessage(b, 5, encodeForm(f))
	}
	b = appendStrings(b, 6, m.Capabilities)
	b = appendBytes(b, 7, m.ConfigSchema)
	return appendBool(b, 8, m.Concurrent)
}

// DecodeManifest reads a Manifest message.
func DecodeManifest(b []byte) (sdk.Manifest, error) {
	var m sdk.Manifest
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.ID)
		case 2:
			return toString(f, &m.Version)
		case 3:
			return f.toUint32(&m.ABI)
		case 4:
			return toString(f, &m.Kind)
		case 5:
			return toList(f, &m.Forms, decodeForm)
		case 6:
			return toStrings(f, &m.Capabilities)
		case 7:
			return f.toBytes(&m.ConfigSchema)
		case 8:
			return f.toBool(&m.Concurrent)
		}
		return nil
	})
	return m, err
}

func encodeForm(m sdk.Form) []byte {
	b := appendString([]byte(nil), 1, m.Flow)
	b = appendString(b, 2, m.Name)
	b = appendString(b, 3, m.Label)
	return appendFields(b, 4, m.Fields)
}

func decodeForm(b []byte, m *sdk.Form) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Flow)
		case 2:
			return toString(f, &m.Name)
		case 3:
			return toString(f, &m.Label)
		case 4:
			return toList(f, &m.Fields, decodeField)
		}
		return nil
	})
}

func appendFields(b []byte, num int, fields []sdk.Field) []byte {
	for _, m := range fields {
		e := appendString([]byte(nil), 1, m.Name)
		e = appendString(e, 2, m.Label)
		e = appendString(e, 3, m.Type)
		b = appendMessage(b, num, appendBool(e, 4, m.Required))
	}
	return b
}

func decodeField(b []byte, m *sdk.Field) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Name)
		case 2:
			return toString(f, &m.Label)
		case 3:
			return toString(f, &m.Type)
		case 4:
			return f.toBool(&m.Required)
		}
		return nil
	})
}

// EncodeSettings returns the ConfigureRequest message that holds settings, a JSON object.
func EncodeSettings(settings []byte) []byte { return appendBytes(nil, 1, settings) }

// DecodeSettings reads a ConfigureRequest message.
func DecodeSettings(b []byte) (settings []byte, err error) {
	err = each(b, func(f field) error {
		if f.num == 1 {
			return f.toBytes(&settings)
		}
		return nil
	})
	return settings, err
}

// EncodeFaults returns the ConfigureReply message, the reply to [Configure].
func EncodeFaults(faults []sdk.Fault) []byte {
	var b []byte
	for _, m := range faults {
		b = appendMessage(b, 1, appendString(appendString(nil, 1, m.Path), 2, m.Message))
	}
	return b
}

// DecodeFaults reads a ConfigureReply message.
func DecodeFaults(b []byte) ([]sdk.Fault, error) {
	var faults []sdk.Fault
	err := each(b, func(f field) error {
		if f.num == 1 {
			return toList(f, &faults, decodeFault)
		}
		return nil
	})
	return faults, err
}

func decodeFault(b []byte, m *sdk.Fault) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Path)
		case 2:
			return toString(f, &m.Message)
		}
		return nil
	})
}
