package wasm

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
)

// calls asks the guest how many calls its instance has had, n times.
func calls(t *testing.T, m *Module, n int) []string {
	t.Helper()
	var out []string
	for range n {
		got, err := act(m, nil, "calls", "")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got)
	}
	return out
}

func TestInstanceIsRetiredAfterItsCalls(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.MaxCalls = 3
	m := open(t, opts)
	for i, got := range calls(t, m, 7) {
		if want := []string{"1", "2", "3"}[i%3]; got != want {
			t.Errorf("call %d is number %s of its instance, want %s", i+1, got, want)
		}
	}
}

func TestInstanceIsRetiredAtItsAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	opts := options(guest(t, "guest"))
	opts.MaxAge = time.Hour
	opts.Now = func() time.Time { return now }
	m := open(t, opts)
	old := calls(t, m, 2)
	now = now.Add(time.Hour - 1)
	old = append(old, calls(t, m, 1)...)
	now = now.Add(1) // while it is idle
	fresh := calls(t, m, 2)
	if old[2] != "3" || fresh[0] != "1" || fresh[1] != "2" {
		t.Errorf("calls of the instance: %v before its age, %v after", old, fresh)
	}
	// While it makes a call: it is not put back.
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
		now = now.Add(time.Hour)
		return nil, nil
	})
	if _, err := act(m, host, "chatter", ""); err != nil {
		t.Fatal(err)
	}
	if len(m.idle) != 0 {
		t.Error("an instance that is too old is idle")
	}
}

func TestEachCallCanHaveAnInstanceOfItsOwn(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.PerCall = true
	m := open(t, opts)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if got, err := act(m, nil, "calls", ""); got != "1" || err != nil {
					t.Errorf("a call is number %s of its instance, %v, want the first", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestInstanceOfTheNextCallIsReadyBeforeIt(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.PerCall, opts.Instances = true, 1
	prepared := make(chan struct{}, 100)
	opts.Prepare = func(ctx context.Context, call sandbox.Caller) error {
		_, err := call(ctx, wire.Configure, wire.EncodeSettings([]byte(`{"a":1}`)))
		prepared <- struct{}{}
		return err
	}
	m := open(t, opts)
	<-prepared
	for range 3 {
		if got, err := act(m, nil, "settings", ""); got != `{"a":1}` || err != nil {
			t.Errorf("settings = %q, %v", got, err)
		}
		<-prepared // nobody calls
	}
	_, _ = act(m, nil, "panic", "")
	<-prepared
	if len(prepared) != 0 {
		t.Errorf("%d instances more than calls", len(prepared))
	}
}

func TestModuleWithAnInstanceForEachCallCloses(t *testing.T) {
	for range 5 {
		opts := options(guest(t, "quiet"))
		opts.Granted, opts.PerCall = nil, true
		m := open(t, opts)
		if _, err := m.Call(context.Background(), wire.Begin, request("", ""), nil); err != nil {
			t.Fatal(err)
		}
		// The next instance is on its way. TestMain looks for what is left behind.
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	code := tiny(abiIs(1), callDoes(nil))
	for name, change := range map[string]func(*Options){
		"negative fuel":           func(o *Options) { o.Fuel = -1 },
		"negative age":            func(o *Options) { o.MaxAge = -1 },
		"negative calls":          func(o *Options) { o.MaxCalls = -1 },
		"interruption by nothing": func(o *Options) { o.Interruption = -1 },
		"no instances":            func(o *Options) { o.Instances = 0 },
	} {
		opts := options(code)
		change(&opts)
		if _, err := Open(context.Background(), opts); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
