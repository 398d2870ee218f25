// Package edge owns the connection with the client: it accepts, refuses what is ambiguous
// before anything is routed, names each request, recovers from panics, turns errors into the
// one envelope, and writes the access record and the request metrics. It does not route
// (package route), authenticate (package access) nor forward (package proxy): all of that
// stands in the [Handler] it is given.
//
// A request that reaches the handler has one canonical form, see [Path] and [Host], and
// exactly one reading of where it begins and ends.
package edge

import "github.com/valyala/fasthttp"

// Handler is a stage of a request. It answers through ctx, or returns an error that the
// [Server] turns into the answer: an [*Error] as it says, anything else as an internal
// error. The byte slices of ctx die with the request.
type Handler func(ctx *fasthttp.RequestCtx) error
