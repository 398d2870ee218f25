// Rogue is a plugin that speaks the protocol by hand and breaks it on demand. What it does
// in a call, the field "act" says; what it is from the start, the end of its own file.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

func main() {
	r := &rogue{mode: mode(), stderr: os.Stderr}
	version := sdk.ABI
	switch r.mode {
	case "tcp":
		fmt.Println("1|2|tcp|127.0.0.1:1|grpc|" + strings.Repeat("A", 200))
		forever()
	case "socket of another":
		fmt.Println("1|2|unix|/run/docker.sock|grpc|" + strings.Repeat("A", 200))
		forever()
	case "version 1":
		version = 1
	case "version 9":
		version = 9
	case "silent":
		forever()
	case "no certificate":
		os.Unsetenv("PLUGIN_CLIENT_CERT")
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: rpc.CookieKey, MagicCookieValue: rpc.CookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{version: {rpc.Plugin: r}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(rpc.Codec()))...)
		},
	})
	if r.mode == "lives on" {
		forever()
	}
}

func forever() { time.Sleep(time.Hour) }

// mode is what a test wrote behind the program.
func mode() string {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	s := string(b[len(b)-64:])
	if i := strings.LastIndex(s, "\nmode:"); i >= 0 {
		return s[i+len("\nmode:"):]
	}
	return ""
}

type rogue struct {
	goplugin.NetRPCUnsupportedPlugin
	mode   string
	stderr *os.File
	broker *goplugin.GRPCBroker
	server *grpc.Server
	dialed sync.Once
	conn   *grpc.ClientConn

	mu     sync.Mutex
	tokens []string // of all calls so far
}

func (r *rogue) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (r *rogue) GRPCServer(broker *goplugin.GRPCBroker, s *grpc.Server) error {
	r.broker, r.server = broker, s
	rpc.Register(s, rpc.Provider, map[string]rpc.Handler{
		"Describe": func(context.Context, []byte) ([]byte, error) {
			m := sdk.Manifest{ID: "rogue", Version: "1.0.0", ABI: sdk.ABI, Kind: "test", Concurrent: r.mode == "concurrent"}
			if r.mode == "changing" {
				m.Version = "1.0.0+" + rand.Text()
			}
			return wire.EncodeManifest(m), nil
		},
		"Configure": func(context.Context, []byte) ([]byte, error) { return nil, nil },
		"Begin":     r.begin,
	})
	go r.dial()
	return nil
}

// dial connects to the gateway's services as soon as they are announced.
func (r *rogue) dial() {
	r.dialed.Do(func() {
		r.conn, _ = r.broker.DialWithOptions(rpc.Broker, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rpc.Codec())))
	})
}

func (r *rogue) begin(ctx context.Context, in []byte) ([]byte, error) {
	r.dial()
	c, err := wire.DecodeCall(in)
	if err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	token := strings.Join(md.Get(rpc.CallKey), ",")
	r.mu.Lock()
	r.tokens = append(r.tokens, token)
	first := r.tokens[0]
	r.mu.Unlock()
	text, err := r.act(ctx, c.Request.Fields["act"], c.Request.Fields["arg"], token, first)
	if err != nil {
		return nil, err
	}
	step := sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: text}}}
	return wire.EncodeReply(wire.Reply{FlowID: c.Flow.ID, Step: &step}), nil
}

func (r *rogue) act(ctx context.Context, what, arg, token, first string) (string, error) {
	switch what {
	case "get":
		return r.ask(ctx, wire.KVGet, token, wire.EncodeKey(arg)), nil
	case "get by the first token":
		return r.ask(ctx, wire.KVGet, first, wire.EncodeKey(arg)), nil
	case "get by a token of its own":
		return r.ask(ctx, wire.KVGet, arg, wire.EncodeKey("key")), nil
	case "get by two tokens":
		two := metadata.AppendToOutgoingContext(ctx, rpc.CallKey, token)
		return r.ask(two, wire.KVGet, token, wire.EncodeKey("key")), nil
	case "secret":
		return r.ask(ctx, wire.SecretGet, token, wire.EncodeSecretName(arg)), nil
	case "garbage":
		return r.ask(ctx, wire.KVGet, token, []byte{0xff}), nil
	case "large request":
		return r.ask(ctx, wire.KVGet, token, wire.EncodeKey(strings.Repeat("x", 2<<20))), nil
	case "get many times at once":
		n, _ := strconv.Atoi(arg)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { r.ask(ctx, wire.KVGet, token, wire.EncodeKey("key")) })
		}
		wg.Wait()
		return "done", nil
	case "get and answer before the reply":
		go r.ask(context.Background(), wire.KVGet, token, wire.EncodeKey(arg))
		time.Sleep(50 * time.Millisecond)
		return "done", nil
	case "large":
		return strings.Repeat("x", 2<<20), nil
	case "status":
		n, _ := strconv.Atoi(arg)
		return "", status.Error(codes.Code(n), "as you\nlike it")
	case "sleep":
		d, _ := time.ParseDuration(arg)
		time.Sleep(d)
		return "awake", nil
	case "children":
		return children()
	case "crowd":
		for range 100 {
			if err := exec.Command("/bin/sleep", "1000").Start(); err != nil {
				return "", err
			}
		}
		return "many", nil
	case "flood":
		go func() {
			for {
				fmt.Fprintln(r.stderr, strings.Repeat("!", 200))
			}
		}()
		return "flooding", nil
	case "offer":
		for id := range uint32(1000) {
			if _, err := r.broker.Accept(100 + id); err != nil {
				return "", err
			}
		}
		return "offered", nil
	case "hang up":
		go r.server.Stop()
		forever()
	case "change":
		return attempt(os.WriteFile(arg, []byte("mine"), 0o600)), nil
	case "remove":
		return attempt(os.Remove(arg)), nil
	case "spy":
		_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
		return attempt(err), nil
	case "memory":
		f, err := os.Open(fmt.Sprintf("/proc/%d/mem", os.Getppid()))
		if err == nil {
			_ = f.Close()
		}
		return attempt(err), nil
	case "signal":
		pid, _ := strconv.Atoi(arg)
		return attempt(syscall.Kill(pid, 0)), nil
	case "stdout":
		for range 1000 {
			fmt.Println(strings.Repeat("1|2|tcp|", 100))
		}
		return "printed", nil
	}
	return "", status.Error(codes.Unimplemented, what)
}

// ask asks the gateway and returns what came of it.
func (r *rogue) ask(ctx context.Context, f wire.Function, token string, request []byte) string {
	ctx = metadata.AppendToOutgoingContext(ctx, rpc.CallKey, token)
	out, err := rpc.Ask(ctx, r.conn, rpc.FunctionPath(f), request)
	if err != nil {
		return status.Code(err).String()
	}
	return fmt.Sprintf("%d bytes", len(out))
}

// children starts processes that want to outlive this one, and returns their numbers.
// attempt says how it went.
func attempt(err error) string {
	if err != nil {
		return "refused"
	}
	return "done"
}

func children() (string, error) {
	var pids []string
	for _, attr := range []*syscall.SysProcAttr{{}, {Setpgid: true}, {Setsid: true}} {
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.SysProcAttr = attr
		if err := cmd.Start(); err != nil {
			return "", err
		}
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
	}
	return strings.Join(pids, " "), nil
}
