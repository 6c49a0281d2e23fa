//! A migration that is a list of statements, as nearly all are.

use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, sea_orm::DbErr};

use crate::dialect;

/// Applied whole or not at all.
pub(crate) struct Plain {
    name: &'static str,
    statements: &'static [&'static str],
}

impl Plain {
    /// `name`: what every database remembers it by. It never changes.
    pub(crate) fn boxed(name: &'static str, statements: &'static [&'static str]) -> Box<dyn MigrationTrait> {
        Box::new(Self { name, statements })
    }
}

impl MigrationName for Plain {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Plain {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, self.statements).await
    }
}
