package saml

import (
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
)

// Two equal names of 50 KB are compared byte by byte, and attributes of many elements pairwise.
func TestLongNamespacesAreRefused(t *testing.T) {
	for length, good := range map[int]bool{512: true, 513: false, 50_000: false} {
		_, err := read([]byte(`<a xmlns:p="`+strings.Repeat("u", length)+`"></a>`), strict)
		if (err == nil) != good {
			t.Errorf("a namespace of %d bytes: %v", length, err)
		}
	}
}

func TestMetadataIsNotBelievedAfterItsOwnEnd(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	ends := kept{fetched: at, party: party{validUntil: at.Add(time.Hour)}}
	if err := outdated(ends.expires(72*time.Hour), at.Add(time.Hour+time.Second)); err == nil {
		t.Error("metadata is believed after its validUntil")
	}
	open := kept{fetched: at}
	if err := outdated(open.expires(72*time.Hour), at.Add(72*time.Hour)); err != nil {
		t.Errorf("metadata without an end is not believed within the grace: %v", err)
	}
	if err := outdated(open.expires(72*time.Hour), at.Add(72*time.Hour+usualRefresh+time.Second)); err == nil {
		t.Error("metadata is believed after the grace")
	}
}

func TestNamesAreTheSameWithAndWithoutTheTwoSides(t *testing.T) {
	i := &idp{name: "corp", entityID: "urn:idp"}
	short := nameID{value: "a"}
	long := nameID{value: "a", qualifier: "urn:idp", spFor: "urn:sp"}
	if i.keyOfName(short, "urn:sp") != i.keyOfName(long, "urn:sp") {
		t.Error("a logout that names the two sides finds nobody")
	}
	if other := (nameID{value: "a", qualifier: "urn:other"}); i.keyOfName(short, "urn:sp") == i.keyOfName(other, "urn:sp") {
		t.Error("a name of another namespace is the same")
	}
}

func TestCertificateThatTheHostCannotReadIsNoFaultOfOurs(t *testing.T) {
	if err := signatureError(sdk.ErrInvalid); err == nil || err == sdk.ErrInvalid {
		t.Errorf("signatureError() = %v, want a refusal", err)
	}
}
