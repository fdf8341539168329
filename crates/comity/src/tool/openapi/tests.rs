//! Tests of OpenAPI.
