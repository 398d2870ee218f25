package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/materi/shield/config"
)

func TestProbesAreReachedWhereverTheGatewayListens(t *testing.T) {
	for _, c := range []struct{ public, private, want string }{
		{"127.0.0.1:8000", "", "127.0.0.1:8000"},
		{"0.0.0.0:8000", "", "localhost:8000"},
		{":8000", "", "localhost:8000"},
		{"[::]:8000", "", "localhost:8000"},
		{"[::1]:8000", "", "[::1]:8000"},
		{"0.0.0.0:8000", "10.0.0.7:9000", "10.0.0.7:9000"},
		{"shield.internal:8000", "", "shield.internal:8000"},
	} {
		cfg := config.Config{Server: config.Server{Listen: c.public}, Admin: config.Admin{Listen: c.private}}
		if got := probed(cfg); got != c.want {
			t.Errorf("probed(%q, %q) = %q, want %q", c.public, c.private, got, c.want)
		}
	}
}

func TestOnlyAGatewayIsHealthy(t *testing.T) {
	for body, healthy := range map[string]bool{
		`{"status":"healthy","version":"1"}`: true,
		`{"status":"ill"}`:                   false,
		`<html>`:                             false,
		``:                                   false,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		if _, err := ask(t.Context(), s.URL); (err == nil) != healthy {
			t.Errorf("ask() of one that says %q: %v", body, err)
		}
		s.Close()
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if _, err := ask(t.Context(), s.URL); err == nil {
		t.Error("ask() of a 404: no error")
	}
}
