// What the author of an identity provider in AssemblyScript needs: the contract between a
// provider and the gateway as plain classes. A provider answers one question, who is this,
// and hands everything that must not be forgotten (state, one-time links, sessions, tokens,
// limits) to the gateway.
//
// Write a class that extends Provider and export it as is told at answer.
export * from "./bytes";
export * from "./host";
export * from "./json";
export * from "./serve";
export * from "./types";
