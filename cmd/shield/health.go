package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/materi/shield/config"
)

// healthTimeout is longer than a probe of a gateway ever takes.
const healthTimeout = 5 * time.Second

// health asks the gateway of this configuration on this machine whether its process lives. It
// is for images, which have no other program that could ask.
func health(ctx context.Context, c *call) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	said, err := ask(ctx, "http://"+probed(cfg)+"/health/")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, said)
	return err
}

// probed is the address at which this machine reaches the gateway's probes.
func probed(cfg config.Config) string {
	listen := cfg.Server.Listen
	if cfg.Admin.Listen != "" {
		listen = cfg.Admin.Listen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // not reached: the configuration was checked
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// ask returns what a gateway says of itself.
func ask(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", url, resp.Status)
	}
	var said struct{ Status string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&said); err != nil || said.Status != "healthy" {
		return "", fmt.Errorf("%s does not answer as a gateway does", url)
	}
	return said.Status, nil
}
