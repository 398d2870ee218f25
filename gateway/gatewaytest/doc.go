// Package gatewaytest holds the end-to-end tests of the assembled gateway: each starts whole
// gateways on real sockets, with the e-mail plugin as wasm and an upstream that notes what
// reaches it, and speaks to them as clients do. It owns no code of the product; what a
// single package promises is tested beside that package.
package gatewaytest
