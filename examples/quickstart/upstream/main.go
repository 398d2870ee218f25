// Upstream is the demo service behind the quickstart: it answers every request with what
// arrived, so that one can see what the gateway adds and takes away.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8001", "host:port to listen on")
	flag.Parse()
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func echo(w http.ResponseWriter, r *http.Request) {
	size, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	headers := make(map[string]string, len(r.Header))
	for name, values := range r.Header {
		headers[name] = values[0]
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(map[string]any{"method": r.Method, "path": r.URL.Path, "headers": headers, "body_bytes": size})
}
