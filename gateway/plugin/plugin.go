// Package plugin hosts identity providers: it loads them, grants them what the operator
// allows, calls them with a deadline, and keeps one provider's trouble from the others. It
// knows neither HTTP nor users (package login). The transports are packages below it.
package plugin
