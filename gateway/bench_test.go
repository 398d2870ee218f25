package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/token"
)

// BenchmarkProxiedRequest sends the same request over a bare proxy and through the gateway,
// in turn, and reports what the gateway costs as a ratio: floor-us is the bare proxy,
// public/floor a route without a token, required/floor one whose token is remembered.
func BenchmarkProxiedRequest(b *testing.B) {
	upstream := listen(b, func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetBody(make([]byte, 1024))
	})
	floor := bareProxy(b, upstream)
	base, bearer := benchGateway(b, upstream)

	client := &fasthttp.Client{}
	call := func(url, bearer string) time.Duration {
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		req.SetRequestURI(url)
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		start := time.Now()
		err := client.Do(req, resp)
		took := time.Since(start)
		if err != nil || resp.StatusCode() != 200 || len(resp.Body()) != 1024 {
			b.Fatalf("%s: %v, status %d, %d bytes", url, err, resp.StatusCode(), len(resp.Body()))
		}
		return took
	}
	var bare, public, required time.Duration
	for b.Loop() {
		bare += call("http://"+floor+"/public", "")
		public += call("http://"+base+"/public", "")
		required += call("http://"+base+"/required", bearer)
	}
	b.ReportMetric(float64(bare.Microseconds())/float64(b.N), "floor-us")
	b.ReportMetric(float64(public)/float64(bare), "public/floor")
	b.ReportMetric(float64(required)/float64(bare), "required/floor")
}

func listen(b *testing.B, handler fasthttp.RequestHandler) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &fasthttp.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	b.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return ln.Addr().String()
}

// bareProxy is the least that a proxy on the same library can do.
func bareProxy(b *testing.B, upstream string) string {
	client := &fasthttp.HostClient{Addr: upstream}
	return listen(b, func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.Del("Connection")
		ctx.Request.SetHost(upstream)
		if err := client.Do(&ctx.Request, &ctx.Response); err != nil {
			ctx.Error("bad gateway", fasthttp.StatusBadGateway)
		}
		ctx.Response.Header.Del("Connection")
	})
}

func benchGateway(b *testing.B, upstream string) (address, bearer string) {
	b.Helper()
	cfg := config.Default()
	cfg.DataDir = b.TempDir()
	cfg.Database.URL = config.NewSecret("sqlite:" + filepath.Join(cfg.DataDir, "shield.db"))
	cfg.Database.Migrate = true
	cfg.Log.Access = false
	cfg.Mail.From, cfg.Mail.Directory = "Shield <no-reply@example.com>", cfg.DataDir
	cfg.Upstreams = []config.Upstream{{Name: "demo", URL: "http://" + upstream, Connections: 64, ConnectTimeout: time.Second}}
	cfg.Routes = []config.Route{
		{Name: "public", Path: "/public", Upstream: "demo", Auth: "public", Timeout: time.Minute},
		{Name: "required", Path: "/required", Upstream: "demo", Auth: "required", Timeout: time.Minute},
	}
	log := slog.New(slog.DiscardHandler)
	g, err := gateway.New(gateway.Options{Config: cfg, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	b.Cleanup(func() {
		if err := g.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		<-done
	})
	keys, err := token.OpenKeyring(token.KeyringOptions{Config: cfg.Token, Dir: gateway.KeysDir(cfg), Now: time.Now, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	issuer, err := token.NewIssuer(keys, cfg.Token, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	signed, _, err := issuer.Issue(b.Context(), token.Claims{Subject: "u-1", SessionID: "s-1", Email: "ann@example.com", Name: "Ann"})
	if err != nil {
		b.Fatal(err)
	}
	return ln.Addr().String(), signed
}
