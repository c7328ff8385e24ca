//! The RabbitMQ adapter, on a real server.

mod depths;
mod given;
mod loss;
mod messages;
mod prefetch;
mod relay;
mod store_trouble;
mod topology;
mod unreadable;
mod watermarks;
