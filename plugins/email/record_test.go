package email

import (
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

func TestMalformedRecordsAreErrors(t *testing.T) {
	host := providertest.New().Call()
	for _, value := range []string{
		"", "1", "1\n", "2\nsub\nverified\n0\nhash", "1\n\nverified\n0\nhash", "1\nsub\nyes\n0\nhash", "1\nsub\nverified\nx\nhash",
		"1\nsub\nverified\n0", "1\nsub\nverified\n0\nhash\n", "sub\nverified\n0\nhash",
	} {
		if err := host.KV().Set(t.Context(), prefixAddress+ann, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		if r, err := load(t.Context(), host, ann); err == nil {
			t.Errorf("load(%q) = %+v, want an error", value, r)
		}
	}
}

func TestRecordSurvivesStoring(t *testing.T) {
	for _, want := range []record{
		{subject: "S", hash: "$argon2id$v=19$m=1,t=1,p=1$c$k"},
		{subject: "S", verified: true, generation: 7},
	} {
		host := providertest.New().Call()
		if err := want.store(t.Context(), host, ann); err != nil {
			t.Fatal(err)
		}
		got, err := load(t.Context(), host, ann)
		if err != nil || !got.exists() {
			t.Fatalf("load() = %+v, %v", got, err)
		}
		got.version = 0
		if got != want {
			t.Errorf("load() = %+v, want %+v", got, want)
		}
	}
}

func FuzzOpenLink(f *testing.F) {
	f.Add(link{address: ann, subject: "S", generation: 3, hash: "$h", name: "Ann"}.save())
	f.Add([]byte("1\na\nb\n0\n\n"))
	f.Add([]byte("1\n\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, saved []byte) {
		l, err := openLink(saved)
		if err != nil {
			if (l != link{}) {
				t.Errorf("openLink(%q) fails and answers %+v", saved, l)
			}
			return
		}
		if again, err := openLink(l.save()); err != nil || again != l {
			t.Errorf("openLink(%q) = %+v, after saving %+v, %v", saved, l, again, err)
		}
		if len(l.save()) > sdk.MaxSave && len(saved) <= sdk.MaxSave {
			t.Errorf("openLink(%q) grows beyond what can be saved", saved)
		}
	})
}
