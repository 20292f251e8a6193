//! What people say of a merchant as a whole: its name, its category everywhere, and that two are one.

use super::{Desk, Error};
use crate::store::{EditRefused, MerchantChange, MerchantEdit, MerchantEdited, MerchantReach, StandingRule};

/// Rules of a merchant that are shown.
const MOST_RULES: u32 = 200;

/// What an edit would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantPreview {
    /// The rows and rules that it reaches.
    pub reach: MerchantReach,
    /// What would be remembered, in words.
    pub memory: String,
}

impl Desk {
    /// What is said of a merchant holds from now on.
    ///
    /// # Errors
    /// When there is no such merchant or category, two to merge are one already, other rows would change than expected,
    /// or the database fails; then nothing was changed.
    pub async fn edit_merchant(&self, edit: &MerchantEdit) -> Result<MerchantEdited, Error> {
        self.check_change(&edit.change)?;
        self.store.edit_merchant(edit).await?.map_err(refused)
    }

    /// What it would do, with at most `limit` rows. Nothing is changed.
    ///
    /// # Errors
    /// When there is no such merchant or category, two to merge are one already, or the database fails.
    pub async fn preview_merchant(&self, edit: &MerchantEdit, limit: u32) -> Result<MerchantPreview, Error> {
        self.check_change(&edit.change)?;
        let reach = self.store.preview_merchant(edit, limit).await?.map_err(refused)?;
        let category = match &edit.change {
            MerchantChange::Categorize { category, .. } => self.name(category),
            MerchantChange::Rename { .. } | MerchantChange::Merge { .. } => "",
        };
        let memory = memory(edit, &reach, category);
        Ok(MerchantPreview { reach, memory })
    }

    /// What people have said of a merchant for rows to come.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merchant_rules(&self, merchant: &str) -> Result<Vec<StandingRule>, Error> {
        Ok(self.store.merchant_rules(merchant, MOST_RULES).await?)
    }

    fn check_change(&self, change: &MerchantChange) -> Result<(), Error> {
        match change {
            MerchantChange::Categorize { category, .. } => self.check(category),
            MerchantChange::Rename { .. } | MerchantChange::Merge { .. } => Ok(()),
        }
    }
}

fn refused(why: EditRefused) -> Error {
    match why {
        EditRefused::Unknown { key } => Error::UnknownMerchant { key },
        EditRefused::Same => Error::SameMerchant,
        EditRefused::Outdated { rows } => Error::Outdated { rows },
    }
}

/// What would be remembered, in words; `category` is what pages call the one that is said.
fn memory(edit: &MerchantEdit, reach: &MerchantReach, category: &str) -> String {
    let merchant = &reach.merchant;
    match &edit.change {
        MerchantChange::Rename { name: Some(name) } => {
            format!("pages of merchants call “{merchant}” {name}; no category changes and no rule is made")
        }
        MerchantChange::Rename { name: None } => format!("pages of merchants call “{merchant}” by its key again"),
        MerchantChange::Categorize { direction, .. } => format!(
            "every later {direction} of “{merchant}” is “{category}”, on any account without a rule of its own; no \
             transaction is labelled by it"
        ),
        MerchantChange::Merge { .. } => {
            let rules = match reach.rules {
                0 => "no rule stands for it".to_owned(),
                1 => "the one rule of either holds for both".to_owned(),
                rules => format!("the {rules} rules of either hold for both, those made for “{merchant}” first"),
            };
            format!("“{}” counts as “{merchant}”: in histories, at the desk and for rules; {rules}", edit.merchant)
        }
    }
}
