package wire

import "github.com/materi/shield/sdk"

func encodeStep(m sdk.Step) []byte {
	b := appendBytes(nil, 1, m.Save)
	if m.Redirect != nil {
		b = appendMessage(b, 2, appendString(nil, 1, m.Redirect.URL))
	}
	if m.Post != nil {
		b = appendMessage(b, 3, appendMap(appendString(nil, 1, m.Post.URL), 2, m.Post.Fields))
	}
	if m.Prompt != nil {
		b = appendMessage(b, 4, appendFields(nil, 1, m.Prompt.Fields))
	}
	if m.Mail != nil {
		b = appendMessage(b, 5, encodeMail(*m.Mail))
	}
	if m.Done != nil {
		b = appendMessage(b, 6, appendMessage(nil, 1, encodeIdentity(m.Done.Identity)))
	}
	if m.Changed != nil {
		b = appendMessage(b, 7, appendString(nil, 1, m.Changed.Subject))
	}
	if m.Denied != nil {
		b = appendMessage(b, 8, encodeDenied(*m.Denied))
	}
	if m.Logout != nil {
		b = appendMessage(b, 9, encodeLogout(*m.Logout))
	}
	return appendString(b, 10, m.Party)
}

func decodeStep(b []byte, m *sdk.Step) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toBytes(&m.Save)
		case 2:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Redirect: m.Redirect}
			return toOption(f, &m.Redirect, decodeRedirect)
		case 3:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Post: m.Post}
			return toOption(f, &m.Post, decodePost)
		case 4:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Prompt: m.Prompt}
			return toOption(f, &m.Prompt, decodePrompt)
		case 5:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Mail: m.Mail}
			return toOption(f, &m.Mail, decodeMail)
		case 6:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Done: m.Done}
			return toOption(f, &m.Done, decodeDone)
		case 7:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Changed: m.Changed}
			return toOption(f, &m.Changed, decodeChanged)
		case 8:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Denied: m.Denied}
			return toOption(f, &m.Denied, decodeDenied)
		case 9:
			*m = sdk.Step{Save: m.Save, Party: m.Party, Logout: m.Logout}
			return toOption(f, &m.Logout, decodeLogout)
		case 10:
			return toString(f, &m.Party)
		}
		return nil
	})
}

func decodeRedirect(b []byte, m *sdk.Redirect) error {
	return each(b, func(f field) error {
		if f.num == 1 {
			return toString(f, &m.URL)
		}
		return nil
	})
}

func decodePost(b []byte, m *sdk.Post) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.URL)
		case 2:
			return toMap(f, &m.Fields)
		}
		return nil
	})
}

func decodePrompt(b []byte, m *sdk.Prompt) error {
	return each(b, func(f field) error {
		if f.num == 1 {
			return toList(f, &m.Fields, decodeField)
		}
		return nil
	})
}

func encodeMail(m sdk.Mail) []byte {
	b := appendString([]byte(nil), 1, m.Template)
	b = appendString(b, 2, m.To)
	b = appendMap(b, 3, m.Vars)
	if m.Identity != nil {
		b = appendMessage(b, 4, encodeIdentity(*m.Identity))
	}
	return b
}

func decodeMail(b []byte, m *sdk.Mail) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Template)
		case 2:
			return toString(f, &m.To)
		case 3:
			return toMap(f, &m.Vars)
		case 4:
			return toOption(f, &m.Identity, decodeIdentity)
		}
		return nil
	})
}

func decodeDone(b []byte, m *sdk.Done) error {
	return each(b, func(f field) error {
		if f.num == 1 {
			return toMessage(f, &m.Identity, decodeIdentity)
		}
		return nil
	})
}

func decodeChanged(b []byte, m *sdk.Changed) error {
	return each(b, func(f field) error {
		if f.num == 1 {
			return toString(f, &m.Subject)
		}
		return nil
	})
}

func encodeDenied(m sdk.Denied) []byte {
	b := appendString([]byte(nil), 1, m.Code)
	for _, e := range m.Fields {
		v := appendString([]byte(nil), 1, e.Field)
		v = appendString(v, 2, e.Code)
		b = appendMessage(b, 2, appendString(v, 3, e.Message))
	}
	return b
}

func decodeDenied(b []byte, m *sdk.Denied) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Code)
		case 2:
			return toList(f, &m.Fields, decodeFieldError)
		}
		return nil
	})
}

func decodeFieldError(b []byte, m *sdk.FieldError) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Field)
		case 2:
			return toString(f, &m.Code)
		case 3:
			return toString(f, &m.Message)
		}
		return nil
	})
}

func encodeLogout(m sdk.Logout) []byte {
	b := appendString([]byte(nil), 1, m.Issuer)
	b = appendString(b, 2, m.Subject)
	b = appendStrings(b, 3, m.Sessions)
	b = appendString(b, 4, m.URL)
	return appendMap(b, 5, m.Fields)
}

func decodeLogout(b []byte, m *sdk.Logout) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Issuer)
		case 2:
			return toString(f, &m.Subject)
		case 3:
			return toStrings(f, &m.Sessions)
		case 4:
			return toString(f, &m.URL)
		case 5:
			return toMap(f, &m.Fields)
		}
		return nil
	})
}

func encodeIdentity(m sdk.Identity) []byte {
	b := appendString([]byte(nil), 1, m.Issuer)
	b = appendString(b, 2, m.Subject)
	b = appendString(b, 3, m.Email)
	b = appendBool(b, 4, m.EmailVerified)
	b = appendString(b, 5, m.Name)
	b = appendString(b, 6, m.AvatarURL)
	b = appendStrings(b, 7, m.Groups)
	b = appendStrings(b, 8, m.AMR)
	b = appendString(b, 9, m.ACR)
	b = appendMap(b, 10, m.Attributes)
	b = appendString(b, 11, m.Session)
	return appendBytes(b, 12, m.Tokens)
}

func decodeIdentity(b []byte, m *sdk.Identity) error {
	return each(b, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &m.Issuer)
		case 2:
			return toString(f, &m.Subject)
		case 3:
			return toString(f, &m.Email)
		case 4:
			return f.toBool(&m.EmailVerified)
		case 5:
			return toString(f, &m.Name)
		case 6:
			return toString(f, &m.AvatarURL)
		case 7:
			return toStrings(f, &m.Groups)
		case 8:
			return toStrings(f, &m.AMR)
		case 9:
			return toString(f, &m.ACR)
		case 10:
			return toMap(f, &m.Attributes)
		case 11:
			return toString(f, &m.Session)
		case 12:
			return f.toBytes(&m.Tokens)
		}
		return nil
	})
}
